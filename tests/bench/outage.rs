//! The real outbox with as many sinks as the caller wants, some of whose receivers fail: driven by `tests/receivers/outage.py`.
//!
//! `outage FOLDER SINKS`: SINKS is JSON, a list of `{"name", "kind", "place", "ca", "token", "healthy"}`. Then orders on standard input:
//! `send COUNT EVERY` sends COUNT alerts, one every EVERY milliseconds, and waits until each healthy sink has delivered all that was sent
//! so far; `wait SECONDS` waits for all sinks. The answer to each is a line of JSON.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agentward::deliver::codec::Codec;
use agentward::deliver::journal::{Journal, Limits};
use agentward::deliver::outbox::{Entry, EntryKind, Outbox, Outlet, SinkCounters};
use agentward::deliver::sink::{Filter, OtlpProtocol, Plan, SecretFile, Target, Tls, Transport};
use serde_json::{Value, json};

/// Longest wait for the healthy sinks: they do not wait for anybody, so it is never needed.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, sinks] = &words[..] else {
        eprintln!("usage: outage FOLDER SINKS");
        return ExitCode::from(2);
    };
    let text = std::fs::read_to_string(sinks).expect("the list of sinks is readable");
    let sinks: Vec<Value> = serde_json::from_str(&text).expect("the list of sinks is JSON");
    let place = Path::new(folder).join("journal");
    let journal = Journal::open(&place, Limits::default()).expect("opens a fresh journal");
    let outlets = sinks.iter().map(|sink| Outlet::new(&plan(sink), "bench").expect("the plan is right")).collect();
    let mut outbox = Outbox::start(journal, &place, outlets, None).expect("starts");
    let watched = Watched::start(&outbox, &sinks);
    let mut sent = 0;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().expect("a number");
        match words[..] {
            ["send", count, every] => {
                sent = watched.send(&outbox, sent, number(count), Duration::from_millis(number(every)));
                println!("{}", watched.delays(&outbox));
            }
            ["wait", seconds] => {
                let end = Instant::now() + Duration::from_secs(number(seconds));
                let left = || outbox.sinks.counters.iter().filter(|(_, sink)| done(sink) < sent).count();
                while left() > 0 && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(20));
                }
                println!("{}", state(&outbox, sent));
            }
            _ => break,
        }
    }
    watched.ended.store(true, Ordering::Relaxed);
    outbox.stop();
    ExitCode::SUCCESS
}

fn plan(sink: &Value) -> Plan {
    let text = |key: &str| sink[key].as_str().unwrap_or_default().to_owned();
    let (name, place) = (text("name"), text("place"));
    let tls = Tls { authorities: sink["ca"].as_str().map(PathBuf::from), ..Tls::default() };
    let token = || SecretFile::new(Path::new(&text("token")));
    let target = match text("kind").as_str() {
        "file" => Target::File { path: place.into(), rotate: None },
        "syslog" => Target::Syslog { transport: Transport::Tls, address: place, tls },
        "http" => Target::Http { url: place, tls, signing: None, bearer: None, cloudevents: false },
        "splunk_hec" => Target::SplunkHec {
            url: place,
            tls,
            token: token(),
            acknowledge: false,
            index: None,
            source_type: "agentward".into(),
        },
        "elastic" => Target::Elastic { url: place, tls, index: "alerts".into(), login: None },
        "otlp_http" => Target::Otlp { url: place, tls, protocol: OtlpProtocol::Http, bearer: None },
        "otlp_grpc" => Target::Otlp { url: place, tls, protocol: OtlpProtocol::Grpc, bearer: None },
        "kafka" => Target::Kafka { brokers: vec![place], topic: "alerts".into(), tls: None, login: None },
        "nats" => Target::Nats { urls: vec![place], subject: format!("alerts.{name}"), tls, token: None },
        other => panic!("no kind of sink is called {other}"),
    };
    Plan { name, codec: Codec::Native, filter: Filter::default(), batch: 64, target }
}

/// When each alert was sent, and when each healthy sink had it acknowledged.
struct Watched {
    sent: Arc<Mutex<Vec<Instant>>>,
    /// Milliseconds by healthy sink.
    delays: Vec<(String, Arc<Mutex<Vec<f64>>>)>,
    ended: Arc<AtomicBool>,
}

impl Watched {
    fn start(outbox: &Outbox, sinks: &[Value]) -> Watched {
        let mut watched = Watched { sent: Arc::default(), delays: Vec::new(), ended: Arc::default() };
        let healthy = outbox.sinks.counters.iter().zip(sinks).filter(|(_, sink)| sink["healthy"] == true);
        for ((name, counters), _) in healthy {
            let (counters, sent, ended) = (counters.clone(), watched.sent.clone(), watched.ended.clone());
            let delays = Arc::new(Mutex::new(Vec::new()));
            watched.delays.push((name.clone(), delays.clone()));
            std::thread::spawn(move || {
                let mut seen = 0;
                while !ended.load(Ordering::Relaxed) {
                    let now = usize::try_from(counters.delivered.load(Ordering::Relaxed)).expect("few");
                    let sent = sent.lock().expect("nobody panics in here");
                    let more = sent[seen..now.min(sent.len())].iter().map(|at| at.elapsed().as_secs_f64() * 1e3);
                    delays.lock().expect("nobody panics in here").extend(more);
                    seen = now.min(sent.len());
                    drop(sent);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        watched
    }

    /// Gives how many were sent in all.
    fn send(&self, outbox: &Outbox, from: u64, count: u64, every: Duration) -> u64 {
        for number in from..from + count {
            let entry = alert(number);
            self.sent.lock().expect("nobody panics in here").push(Instant::now());
            outbox.send(entry);
            std::thread::sleep(every);
        }
        let end = Instant::now() + PATIENCE;
        let wanted = usize::try_from(from + count).expect("few");
        let late = || self.delays.iter().any(|(_, delays)| delays.lock().expect("nobody panics in here").len() < wanted);
        while late() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        from + count
    }

    /// Of each healthy sink, since the last look: how many it delivered, and the time from the sending to the acknowledgement.
    fn delays(&self, outbox: &Outbox) -> Value {
        let all = self.delays.iter().map(|(name, delays)| {
            let mut delays = delays.lock().expect("nobody panics in here").clone();
            delays.sort_by(f64::total_cmp);
            let part = |part: f64| delays.get((delays.len() as f64 * part) as usize).or(delays.last()).copied();
            json!({"name": name, "delivered": delays.len(), "p50": part(0.5), "p99": part(0.99), "longest": part(1.0)})
        });
        let (healthy, dropped) = (all.collect::<Vec<_>>(), outbox.counters.dropped.load(Ordering::Relaxed));
        json!({"healthy": healthy, "dropped": dropped})
    }
}

fn alert(number: u64) -> Entry {
    let (uid, now) = (format!("u{number}"), SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970"));
    let time = u64::try_from(now.as_nanos()).expect("before 2554");
    let json = json!({
        "uid": uid, "time": time, "rule": {"id": "core.bench", "title": "An alert of the outage", "version": "1", "pack": "core"},
        "severity": "high", "proof": "served", "count": 1, "workflow": format!("w{}", number % 7), "matched": {"arg": "x".repeat(700)},
    });
    Entry { kind: EntryKind::Alert, time, uid, revision: 0, json: json.to_string() }
}

fn done(sink: &SinkCounters) -> u64 {
    sink.delivered.load(Ordering::Relaxed) + sink.dead.load(Ordering::Relaxed) + sink.lost.load(Ordering::Relaxed)
}

fn state(outbox: &Outbox, sent: u64) -> Value {
    let of = |sink: &SinkCounters| {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        (count(&sink.delivered), count(&sink.failures), count(&sink.dead), count(&sink.lost))
    };
    let sinks = outbox.sinks.counters.iter().map(|(name, sink)| {
        let (delivered, failures, dead, lost) = of(sink);
        json!({"name": name, "delivered": delivered, "failures": failures, "dead": dead, "lost": lost})
    });
    json!({"sent": sent, "sinks": sinks.collect::<Vec<_>>()})
}
