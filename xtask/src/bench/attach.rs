//! What a breakpoint costs where it is put, beside one at the function's entry. An example of the tests, because it uses the library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use super::{fresh, wait_for};
use crate::{build, peers, setup, sh};

/// TLS in memory, both ends in one process: 4000 messages.
const OPENSSL: &str = "
import ssl, sys
server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=sys.argv[1] + '/ca.pem')
server.load_cert_chain(sys.argv[1] + '/server.crt', sys.argv[1] + '/server.key')
up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
near, far = client.wrap_bio(down, up, server_hostname='localhost'), server.wrap_bio(up, down, server_side=True)
for end in (near, far, near, far):
    try: end.do_handshake()
    except ssl.SSLWantReadError: pass
for _ in range(4000):
    near.write(b'x' * 100)
    far.read(100)
";

/// Calls that are refused at once, for there was no handshake: they pass the places all the same.
const GNUTLS: &str = "
import ctypes
library = ctypes.CDLL('libgnutls.so.30')
session, buffer = ctypes.c_void_p(), ctypes.create_string_buffer(100)
library.gnutls_init(ctypes.byref(session), 2)
for _ in range(4000):
    library.gnutls_record_send2(session, buffer, ctypes.c_size_t(100), ctypes.c_size_t(0), 0)
    library.gnutls_record_recv(session, buffer, ctypes.c_size_t(100))
";

/// A server and its client in one process: 4000 messages there and back.
const NODE: &str = "
const fs = require('fs'), tls = require('tls'), folder = process.argv[1];
const read = (name) => fs.readFileSync(folder + '/' + name);
const server = tls.createServer({cert: read('server.crt'), key: read('server.key')}, (end) => end.pipe(end)).listen(0, () => {
    let left = 4000;
    const end = tls.connect({port: server.address().port, ca: read('ca.pem'), servername: 'localhost'}, () => end.write('x'));
    end.on('data', () => --left ? end.write('x') : process.exit(0));
});
";

pub fn run() -> Result<()> {
    peers::prepare_python()?;
    peers::prepare_stacks(false)?;
    setup::need(&[("node", "nodejs"), ("openssl", "openssl")])?;
    let _alone = sh::alone("this measurement")?;
    let folder = fresh("attach")?;
    let mut standin = sh::command(peers::python());
    let mut standin = standin.arg(peers::sources().join("standin.py")).arg(&folder).stdin(Stdio::piped()).spawn()?;
    let port = wait_for("the stand-in", || fs::read_to_string(folder.join("port")).ok())?;
    let place = folder.display().to_string();
    let repeat = |program: PathBuf, arguments: &str| {
        let line = format!("for n in 1 2 3 4 5 6 7 8; do {} {arguments} || exit 1; done", program.display());
        vec!["sh".to_owned(), "-c".into(), line]
    };
    let (static_client, rustls_client) =
        (peers::folder().join("openssl-static/client"), peers::folder().join("rustls-ring/release/rustls-client"));
    let rows = [
        ("OpenSSL, shared", loaded("libssl.so.3")?, vec!["python3".into(), "-c".into(), OPENSSL.into(), place.clone()]),
        ("GnuTLS", loaded("libgnutls.so.30")?, vec!["python3".into(), "-c".into(), GNUTLS.into()]),
        ("OpenSSL in Node", program("node")?, vec!["node".into(), "-e".into(), NODE.into(), place.clone()]),
        ("OpenSSL, static, bare", static_client.clone(), repeat(static_client, &format!("{port} {place}/ca.pem"))),
        ("rustls, bare", rustls_client.clone(), repeat(rustls_client, "")),
    ];
    println!("{:22} {:>8} {:>8} {:>8} {:>8} ratio", "library", "hits", "entry ns", "ns", "noise ns");
    for (name, file, command) in rows {
        let mut cargo = build::cargo()?;
        cargo.args(["run", "--quiet", "--package", "agentward", "--example", "attach", "--", name]).arg(file).args(command);
        cargo.env("STANDIN_URL", format!("https://localhost:{port}")).env("SSL_CERT_FILE", folder.join("ca.pem"));
        sh::check(&mut cargo)?;
    }
    drop(standin.stdin.take());
    standin.wait()?;
    Ok(())
}

/// Where the loader finds a library.
fn loaded(name: &str) -> Result<PathBuf> {
    let known = sh::output(sh::command("/sbin/ldconfig").arg("-p"))?;
    let line = known.lines().find(|line| line.trim_start().starts_with(name) && line.contains("x86-64"));
    let path = line.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("{name} is not installed"))?;
    Ok(Path::new(path).canonicalize()?)
}

fn program(name: &str) -> Result<PathBuf> {
    let path = sh::output(sh::command("sh").args(["-c", &format!("command -v {name}")]))?;
    Ok(Path::new(path.trim()).canonicalize()?)
}
