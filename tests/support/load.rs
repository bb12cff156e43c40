//! Load clients that are told what to do (`tests/peers/clients/load.py`), and the bytes of their TLS library in memory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use crate::peers::World;

pub struct Load {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Load {
    /// # Panics
    /// When the client cannot be started.
    pub fn start(world: &World) -> Load {
        let mut client = world.python("clients/load.py");
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the packages are installed");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Load { child, orders, answers }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts `count` requests after `plan`; the totals come with [`Load::done`].
    ///
    /// # Panics
    /// When the client is gone.
    pub fn order(&mut self, count: usize, plan: &str) {
        let orders = self.orders.as_mut().expect("open until the end");
        writeln!(orders, "{count} {plan}").and_then(|()| orders.flush()).expect("the load client listens");
    }

    /// Waits for the end of an order: totals since the client's start.
    ///
    /// # Panics
    /// When the client is gone.
    pub fn done(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the load client answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("load client: {error}: {line}"))
    }

    pub fn make(&mut self, count: usize, plan: &str) -> Value {
        self.order(count, plan);
        self.done()
    }

    /// How many bytes of the TLS library's code in this process differ from its file: a breakpoint differs.
    ///
    /// # Panics
    /// When the process is gone or has no such library.
    pub fn probed_bytes(&self) -> usize {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).expect("the load client lives");
        let memory = File::open(format!("/proc/{}/mem", self.pid())).expect("root may read");
        let mut differing = 0;
        let mut found = false;
        for line in maps.lines().filter(|line| line.contains(" r-xp ") && line.contains("libssl")) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (from, to) = fields[0].split_once('-').expect("as proc(5) says");
            let number = |text: &str| u64::from_str_radix(text, 16).expect("as proc(5) says");
            let (from, to, offset) = (number(from), number(to), number(fields[2]));
            let length = usize::try_from(to - from).expect("fits");
            let (mut mapped, mut stored) = (vec![0; length], vec![0; length]);
            memory.read_exact_at(&mut mapped, from).expect("root may read");
            // The last page of the mapping may reach behind the file's end.
            let file = File::open(fields[5]).expect("the library is there");
            let mut read = 0;
            while let Ok(more @ 1..) = file.read_at(&mut stored[read..], offset + read as u64) {
                read += more;
            }
            differing += mapped[..read].iter().zip(&stored).filter(|(a, b)| a != b).count();
            found = true;
        }
        assert!(found, "the load client has mapped no libssl");
        differing
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}
