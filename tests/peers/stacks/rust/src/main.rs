//! rustls under a blocking client: every size, both ways, one after the other and several at once. `bin/busy.rs` is without a network.

use std::io::Read;
use std::sync::Arc;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, parse_pem, PemItem};

fn main() {
    let url = std::env::var("STANDIN_URL").expect("the harness sets it");
    let pem = std::fs::read(std::env::var_os("SSL_CERT_FILE").expect("the harness sets it")).expect("readable");
    let roots: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| if let Ok(PemItem::Certificate(certificate)) = item { Some(certificate) } else { None })
        .collect();
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(roots))).build();
    let agent: Agent = Agent::config_builder().tls_config(tls).build().into();
    let sizes = [0_usize, 1, 1000, 16_384, 70_000, 1 << 20];
    for size in sizes {
        let body: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
        let answer = agent.post(format!("{url}/echo?n={size}&chunked=1")).send(&body[..]).expect("the stand-in answers");
        assert_eq!(drain(answer), size);
    }
    let threads: Vec<_> = sizes
        .into_iter()
        .map(|size| {
            let (agent, url) = (agent.clone(), url.clone());
            std::thread::spawn(move || {
                let answer = agent.get(format!("{url}/echo?n={size}")).call().expect("the stand-in answers");
                assert_eq!(drain(answer), size);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no thread fails"));
}

fn drain(answer: ureq::http::Response<ureq::Body>) -> usize {
    let mut bytes = Vec::new();
    answer.into_body().into_reader().read_to_end(&mut bytes).expect("the answer is whole");
    bytes.len()
}
