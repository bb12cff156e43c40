//! The views, seen by a person's programs: pages in Chromium with an accessibility audit, the terminal view in tmux, and the door
//! knocked on by strangers. `cargo xtask test` installs what they need, so plain `cargo test` leaves them out.

mod door;
mod hostile;
mod live;
mod load;
mod pages;
mod shots;
mod terminal;

use agent_tests::browser::Browser;
use agent_tests::program::{Daemon, root};
use serde_json::json;

/// The console on recordings.
pub struct Console {
    pub daemon: Daemon,
    pub origin: String,
    pub token: String,
}

impl Console {
    pub fn of(recordings: &[&str]) -> Console {
        let mut arguments = vec!["console", "--listen", "127.0.0.1:0", "--from"];
        arguments.extend(recordings);
        Console::start(&arguments)
    }

    /// Whatever serves one: the link that it says holds address and token.
    pub fn start(arguments: &[&str]) -> Console {
        let daemon = Daemon::start(arguments);
        let said = daemon.said();
        let link = said.split_whitespace().find(|word| word.starts_with("http://")).expect("the console says its address");
        let (origin, token) = match link.split_once("/login#token=") {
            Some((origin, token)) => (origin.to_owned(), token.to_owned()),
            // The daemon tells a log where the token is, not the token.
            None => {
                let file = said
                    .split("its token is in ")
                    .nth(1)
                    .and_then(|rest| rest.lines().next())
                    .expect("the daemon names the file");
                let token = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
                (link.trim_end_matches([',', '/']).to_owned(), token)
            }
        };
        Console { origin, token, daemon }
    }

    /// A browser that has logged in by the form.
    pub fn browser(&self, name: &str) -> Browser {
        let mut browser = Browser::start(name, &[]);
        browser.resize(1280, 900);
        browser.open(&format!("{}/", self.origin));
        browser.eval(&format!("document.getElementById('token').value = {}", json!(self.token)));
        browser.click("button");
        assert_eq!(browser.eval("location.pathname"), json!("/"), "{}", browser.text());
        browser
    }
}

/// Both recorded runs of the sample agent: one that a ticket led astray, an honest one.
pub fn sample_runs() -> [String; 2] {
    ["tests/data/bad-run.jsonl", "tests/data/honest-run.jsonl"]
        .map(|name| root().join(name).to_str().expect("test files have plain names").to_owned())
}
