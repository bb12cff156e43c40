//! What watching costs the watched: nginx under wrk, CPU time of the worker a request, rounds interleaved.
//!
//! Modes: nobody watches; agentward watches others (its probes are there and end at the first check); agentward watches nginx;
//! bpftrace copies 200 bytes of each message. A round runs each mode once; a ratio is that of one round, the table has medians.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Beside, daemon, median, need_root, wait_for};
use crate::{build, setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a leg.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    Others,
    Agentward,
    Bpftrace,
}

const MODES: [(Mode, &str); 4] = [
    (Mode::None, "nobody watches"),
    (Mode::Others, "agentward, watching others"),
    (Mode::Agentward, "agentward, watching nginx"),
    (Mode::Bpftrace, "bpftrace, 200 bytes a message"),
];
const SIZES: [(&str, usize); 2] = [("1 KiB", 1 << 10), ("16 KiB", 16 << 10)];

/// Both doors of the library, as bpftrace's users write it.
const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
uprobe:LIB:SSL_write { printf("%r\n", buf(arg1, 200)); }
uprobe:LIB:SSL_read { @buffer[tid] = arg1; }
uretprobe:LIB:SSL_read /@buffer[tid]/ { printf("%r\n", buf(@buffer[tid], 200)); delete(@buffer[tid]); }
"#;

#[derive(Clone, Copy)]
struct Leg {
    /// Microseconds of the worker's CPU a request.
    cost: f64,
    rate: f64,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    need_root()?;
    setup::need(&[("nginx", "nginx"), ("wrk", "wrk"), ("bpftrace", "bpftrace"), ("openssl", "openssl")])?;
    build::run()?;
    let folder = sh::target().join("bench-capture");
    fs::create_dir_all(&folder)?;
    let nginx = Nginx::start(&folder)?;
    let mut legs = vec![vec![Vec::new(); MODES.len()]; SIZES.len()];
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        for (number, (mode, _)) in MODES.iter().enumerate() {
            let beside = watcher(*mode, &folder, nginx.library.as_str())?;
            for (size, (_, bytes)) in SIZES.iter().enumerate() {
                legs[size][number].push(nginx.leg(*bytes, arguments.seconds)?);
            }
            drop(beside);
        }
    }
    for ((name, _), legs) in SIZES.iter().zip(&legs) {
        table(name, legs);
    }
    Ok(())
}

fn watcher(mode: Mode, folder: &Path, library: &str) -> Result<Option<Beside>> {
    let selected = |exe: &str| daemon(folder, &format!("scope = \"match\"\n[match]\nexe = [\"{exe}\"]\n"));
    Ok(match mode {
        Mode::None => None,
        Mode::Others => Some(selected("/nobody/runs/this")?),
        Mode::Agentward => Some(selected("*/nginx")?),
        Mode::Bpftrace => {
            let script = folder.join("copy.bt");
            fs::write(&script, SCRIPT.replace("LIB", library))?;
            let out = folder.join("copy.out");
            let mut bpftrace = Command::new("bpftrace");
            bpftrace.args(["-B", "line"]).arg(&script).env("BPFTRACE_STRLEN", "200").stdin(Stdio::null());
            let beside = Beside { child: bpftrace.stdout(fs::File::create(&out)?).stderr(Stdio::null()).spawn()? };
            wait_for("bpftrace", || fs::read_to_string(&out).ok()?.contains("ready").then_some(()))?;
            // It goes on writing to a file that has no name.
            fs::remove_file(&out)?;
            Some(beside)
        }
    })
}

fn table(name: &str, legs: &[Vec<Leg>]) {
    println!(
        "\n{name}: worker CPU a request, and requests a second at saturation; medians, ratios to the same round's unwatched leg"
    );
    println!("{:32} {:>9} {:>9} {:>9} {:>10} {:>9}", "", "µs", "added µs", "ratio", "requests/s", "kept");
    let unwatched = &legs[0];
    let mut added = Vec::new();
    for ((_, label), of_mode) in MODES.iter().zip(legs) {
        let of =
            |value: fn(&Leg, &Leg) -> f64| median(of_mode.iter().zip(unwatched).map(|(leg, base)| value(leg, base)).collect());
        let more = of(|leg, base| leg.cost - base.cost);
        println!(
            "{label:32} {:9.1} {more:9.2} {:9.2} {:10.0} {:9.2}",
            of(|leg, _| leg.cost),
            of(|leg, base| leg.cost / base.cost),
            of(|leg, _| leg.rate),
            of(|leg, base| leg.rate / base.rate),
        );
        added.push(more);
    }
    if let [_, others, ours, bpftrace] = added.as_slice() {
        println!(
            "added CPU of agentward: {:.3} of bpftrace's, {:.2} of the probes that end at the first check",
            ours / bpftrace,
            ours / others
        );
    }
}

struct Nginx {
    _server: Beside,
    worker: u32,
    port: u16,
    /// The TLS library that the worker has mapped.
    library: String,
}

impl Nginx {
    fn start(folder: &Path) -> Result<Nginx> {
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

    fn leg(&self, bytes: usize, seconds: u32) -> Result<Leg> {
        let url = format!("https://127.0.0.1:{}/{bytes}", self.port);
        let before = self.ticks()?;
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "-c16", &format!("-d{seconds}s"), &url]).stderr(Stdio::null());
        let said = sh::output(&mut wrk)?;
        let spent = self.ticks()? - before;
        let requests = said.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse::<f64>().ok());
        let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
        let (requests, rate) = requests.zip(rate).context("wrk says how many requests it made")?;
        // A tick is 10 ms on every Linux that we build for.
        Ok(Leg { cost: spent * 10_000.0 / requests, rate })
    }

    /// CPU time of the worker: user and system, proc(5) fields 14 and 15.
    fn ticks(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.worker))?;
        let (_, fields) = stat.rsplit_once(") ").context("as proc(5) says")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        Ok(fields[11].parse::<f64>()? + fields[12].parse::<f64>()?)
    }
}
