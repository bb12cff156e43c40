//! The measured server: nginx with one worker, TLS, kept connections; its load, and what the kernel says of it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Beside, wait_for};
use crate::sh;

/// Names and sizes of the bodies that it serves.
pub(super) const SIZES: [(&str, usize); 2] = [("1 KiB", 1 << 10), ("16 KiB", 16 << 10)];

pub(super) struct Nginx {
    _server: Beside,
    pub(super) worker: u32,
    port: u16,
    /// The TLS library that the worker has mapped.
    pub(super) library: String,
}

impl Nginx {
    pub(super) fn start(folder: &Path) -> Result<Nginx> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let path = |name: &str| folder.join(name).display().to_string();
        let mut openssl = sh::command("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "7"]);
        sh::output(openssl.args(["-subj", "/CN=localhost", "-keyout", &path("key.pem"), "-out", &path("cert.pem")]))?;
        for (_, bytes) in SIZES {
            fs::write(folder.join(bytes.to_string()), "x".repeat(bytes))?;
        }
        let config = format!(
            "daemon off; user root; worker_processes 1; pid {}; error_log stderr notice;
            events {{ worker_connections 256; }}
            http {{ access_log off; keepalive_requests 1000000000;
              server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {};
                root {}; sendfile off; open_file_cache max=16; }} }}",
            path("nginx.pid"),
            path("cert.pem"),
            path("key.pem"),
            folder.display()
        );
        fs::write(folder.join("nginx.conf"), config)?;
        let program = sh::which("nginx").context("nginx was installed")?;
        let server =
            Beside::start(Command::new(program).args(["-c", &path("nginx.conf"), "-e", "stderr"]), "start worker process")?;
        let children = format!("/proc/{0}/task/{0}/children", server.pid());
        let worker: u32 =
            wait_for("nginx's worker", || fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok())?;
        let maps = fs::read_to_string(format!("/proc/{worker}/maps"))?;
        let line = maps.lines().find(|line| line.contains("libssl")).context("nginx has mapped no shared libssl")?;
        let library = line.split_whitespace().nth(5).context("a mapping has a name")?.to_owned();
        Ok(Nginx { _server: server, worker, port, library })
    }

    fn url(&self, bytes: usize) -> String {
        format!("https://127.0.0.1:{}/{bytes}", self.port)
    }

    /// As many requests as it can serve: how many, and how many a second.
    pub(super) fn saturate(&self, bytes: usize, seconds: u32) -> Result<(f64, f64)> {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "-c16", &format!("-d{seconds}s"), &self.url(bytes)]).stderr(Stdio::null());
        let said = sh::output(&mut wrk)?;
        let requests = said.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse::<f64>().ok());
        let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
        requests.zip(rate).context("wrk says how many requests it made")
    }

    /// This many requests a second for so long; how many were made.
    pub(super) fn pace(&self, bytes: usize, rate: f64, seconds: u32) -> Result<u64> {
        const CLIENTS: f64 = 16.0;
        let mut h2load = Command::new("h2load");
        h2load.args(["--h1", "-t1", &format!("-c{CLIENTS}"), &format!("--rps={:.0}", rate / CLIENTS), &format!("-D{seconds}")]);
        let said = sh::output(h2load.arg(self.url(bytes)).stderr(Stdio::null()))?;
        let line = said.lines().find(|line| line.starts_with("requests:")).context("h2load says how many requests it made")?;
        let made = line.split(", ").find_map(|part| part.strip_suffix(" succeeded")).context("h2load says how many succeeded")?;
        Ok(made.trim().parse()?)
    }

    /// Bytes of the library's code that differ in the worker's memory from the file: breakpoints.
    pub(super) fn breakpoints(&self) -> Result<usize> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.worker))?;
        let memory = fs::File::open(format!("/proc/{}/mem", self.worker))?;
        let file = fs::read(&self.library)?;
        let mut different = 0;
        for line in maps.lines().filter(|line| line.ends_with(&self.library)) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if !fields[1].contains('x') {
                continue;
            }
            let (start, end) = fields[0].split_once('-').context("a mapping has a range")?;
            let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
            let offset = usize::try_from(u64::from_str_radix(fields[2], 16)?)?;
            let mut bytes = vec![0; usize::try_from(end - start)?];
            memory.read_exact_at(&mut bytes, start)?;
            different += bytes.iter().zip(&file[offset..]).filter(|(one, other)| one != other).count();
        }
        Ok(different)
    }
}
