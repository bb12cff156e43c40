//! The console of a daemon that watches this host: an alert comes without a reload, and leads to its workflow.

use std::time::Instant;

use agent_tests::browser::Browser;
use agent_tests::peers::{World, finish};
use agent_tests::wait_for;
use serde_json::json;

use crate::{Console, pages};

#[test]
#[ignore = "needs root and Chromium: cargo xtask test"]
fn live_alerts_come_without_a_reload() {
    let world = World::start("console-live");
    let config = world.path("agentward.toml");
    let text = format!(
        "socket = {:?}\nstate_dir = {:?}\n[console]\nlisten = \"127.0.0.1:0\"\n",
        world.path("control.sock"),
        world.path("state")
    );
    std::fs::write(&config, text).expect("the scratch folder is writable");
    let console = Console::start(&["run", "--config", config.to_str().expect("a plain name")]);
    let mut browser = console.browser("live");
    wait_for("live updates", || (browser.eval("document.getElementById('live-state').textContent") == "live").then_some(()));
    browser.eval("window.same = true");
    let mut agent = world.python("agent.py");
    agent.arg("T-2");
    finish(agent);
    let ended = Instant::now();
    let alert = "#latest table a[href^='/alerts/']";
    wait_for("the alert on the page", || {
        (browser.eval(&format!("document.querySelector({}) !== null", json!(alert))) == true).then_some(())
    });
    eprintln!("the alert was on the page {} ms after the agent's end", ended.elapsed().as_millis());
    assert_eq!(browser.eval("window.same"), json!(true), "the page was loaded again");
    whole(&mut browser, &console, "overview");
    browser.click(alert);
    assert!(browser.text().contains("What to do"), "{}", browser.text());
    whole(&mut browser, &console, "alert");
    browser.click("#workflow-link");
    for told in ["Please handle ticket T-2", "refund_order", "untrusted content"] {
        assert!(browser.text().contains(told), "the workflow does not tell {told}: {}", browser.text());
    }
    whole(&mut browser, &console, "workflow");
    for path in ["/alerts", "/workflows", "/agents", "/rules"] {
        browser.open(&format!("{}{path}", console.origin));
        whole(&mut browser, &console, path);
    }
    console.daemon.stop();
}

fn whole(browser: &mut Browser, console: &Console, name: &str) {
    let mut faults = browser.problems(&console.origin);
    faults.extend(browser.eval(pages::LAYOUT).as_array().into_iter().flatten().map(ToString::to_string));
    assert!(faults.is_empty(), "{name}: {faults:#?}");
}
