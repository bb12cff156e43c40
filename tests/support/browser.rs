//! Debian's Chromium, driven over its debugging pipe (Chrome DevTools Protocol): no driver program between.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::{PATIENCE, Scratch, wait_for};

pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: String,
    next: u64,
    events: VecDeque<Value>,
    _profile: Scratch,
}

impl Browser {
    /// With more flags for the program.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, flags: &[&str]) -> Browser {
        let profile = Scratch::new(&format!("chromium-{name}"));
        // Descriptors 3 and 4 are the protocol's pipe.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null", "sh"])
            .args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--hide-scrollbars", "--force-color-profile=srgb", "--window-size=1280,900"])
            .arg(format!("--user-data-dir={}", profile.folder().display()))
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium starts; `cargo xtask test` installs it");
        let to = child.stdin.take().expect("stdin is piped");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while lines.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { return };
                if sender.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser =
            Browser { child, to, from, session: String::new(), next: 0, events: VecDeque::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", &json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().expect("a session has a name").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// One command of the protocol and its result.
    ///
    /// # Panics
    /// When the browser refuses it or is gone.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.ask(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The result, or why the browser refuses.
    fn ask(&mut self, method: &str, parameters: &Value) -> Result<Value, Value> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        loop {
            let answer = self.from.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{method}: the browser does not answer"));
            if answer["id"] == json!(id) {
                let refused = !answer["error"].is_null();
                return if refused { Err(answer["error"].clone()) } else { Ok(answer["result"].clone()) };
            }
            self.events.push_back(answer);
        }
    }

    /// Goes to an address and waits until the page is there with its scripts.
    ///
    /// # Panics
    /// When it does not come.
    pub fn open(&mut self, url: &str) {
        self.eval("window.before = true");
        self.call("Page.navigate", &json!({"url": url}));
        self.loaded();
    }

    /// Waits for the page after something that leads to another one.
    ///
    /// # Panics
    /// When it does not come.
    pub fn loaded(&mut self) {
        wait_for("the page", || {
            let ready = self.try_eval("window.before === undefined && document.readyState === 'complete'");
            (ready == Some(json!(true))).then_some(())
        });
    }

    /// Follows what is clicked.
    ///
    /// # Panics
    /// When there is no such thing or no page follows.
    pub fn click(&mut self, selector: &str) {
        self.eval("window.before = true");
        let node = format!("document.querySelector({})", json!(selector));
        assert_eq!(self.eval(&format!("{node} !== null")), json!(true), "{selector} is not on the page");
        // The page may be gone before it can answer.
        self.try_eval(&format!("{node}.click()"));
        self.loaded();
    }

    /// A value of the page; promises are awaited.
    ///
    /// # Panics
    /// When the expression throws.
    pub fn eval(&mut self, expression: &str) -> Value {
        let result = self.evaluate(expression).unwrap_or_else(|error| panic!("{expression:.200}: {error}"));
        assert!(result["exceptionDetails"].is_null(), "{expression:.200}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// `None` when it throws or its page goes away meanwhile, as between two pages.
    fn try_eval(&mut self, expression: &str) -> Option<Value> {
        let result = self.evaluate(expression).ok()?;
        result["exceptionDetails"].is_null().then(|| result["result"]["value"].clone())
    }

    fn evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        self.ask("Runtime.evaluate", &json!({"expression": expression, "awaitPromise": true, "returnByValue": true}))
    }

    /// The visible text.
    pub fn text(&mut self) -> String {
        self.eval("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// # Panics
    /// When there is no such size.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    pub fn colours(&mut self, scheme: &str) {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// The whole page as a PNG.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn screenshot(&mut self, file: &Path, whole: bool) {
        let shot = self.call("Page.captureScreenshot", &json!({"format": "png", "captureBeyondViewport": whole}));
        let bytes = BASE64.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// What went wrong since the last look: exceptions, errors in the log (a policy that was violated is one), dialogs, and requests to
    /// anywhere but `origin`.
    pub fn problems(&mut self, origin: &str) -> Vec<String> {
        // Everything that happened before this answer has been sent.
        self.eval("1");
        self.events
            .drain(..)
            .filter_map(|event| {
                let parameters = &event["params"];
                match event["method"].as_str().unwrap_or_default() {
                    "Runtime.exceptionThrown" => Some(format!("exception: {}", parameters["exceptionDetails"])),
                    "Log.entryAdded" if parameters["entry"]["level"] == "error" => Some(format!("log: {}", parameters["entry"])),
                    "Page.javascriptDialogOpening" => Some(format!("dialog: {}", parameters["message"])),
                    "Network.requestWillBeSent" => {
                        let url = parameters["request"]["url"].as_str().unwrap_or_default();
                        (!url.starts_with(origin) && url != "about:blank").then(|| format!("request: {url}"))
                    }
                    _ => None,
                }
            })
            .collect()
    }

    /// Bytes of the page's heap after a collection.
    pub fn heap(&mut self) -> u64 {
        self.call("HeapProfiler.collectGarbage", &json!({}));
        self.call("Runtime.getHeapUsage", &json!({}))["usedSize"].as_f64().map_or(0, |bytes| bytes as u64)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
