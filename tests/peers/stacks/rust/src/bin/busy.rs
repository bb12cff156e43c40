//! rustls in memory, both ends in one process, until standard input ends: every message is compared with what was sent. busy FOLDER

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

static LAST: AtomicBool = AtomicBool::new(false);

fn main() {
    let folder = std::env::args().nth(1).expect("busy FOLDER");
    let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(format!("{folder}/{name}")).expect("readable").map(|one| one.expect("PEM")).collect()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem"));
    let key = PrivateKeyDer::from_pem_file(format!("{folder}/server.key")).expect("a key");
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates("server.crt"), key).expect("they fit");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut near: Connection = ClientConnection::new(Arc::new(client), "localhost".try_into().expect("a name")).expect("valid").into();
    let mut far: Connection = ServerConnection::new(Arc::new(server)).expect("valid").into();
    for _ in 0..4 {
        carry(&mut near, &mut far);
        carry(&mut far, &mut near);
    }
    println!("busy");
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).expect("readable");
        LAST.store(true, Ordering::Relaxed);
    });
    let mut number = 0_usize;
    while !LAST.load(Ordering::Relaxed) {
        let sent = vec![(number % 251) as u8; 1 + number * 37 % 4096];
        let (from, to) = if number % 2 == 0 { (&mut near, &mut far) } else { (&mut far, &mut near) };
        from.writer().write_all(&sent).expect("room for a message");
        carry(from, to);
        let mut got = vec![0; sent.len()];
        to.reader().read_exact(&mut got).expect("it was carried");
        assert_eq!(sent, got);
        number += 1;
    }
    println!("{number} messages");
}

fn carry(from: &mut Connection, to: &mut Connection) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).expect("memory");
    }
    let mut rest = &wire[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).expect("memory");
        to.process_new_packets().expect("what the other end made");
    }
}
