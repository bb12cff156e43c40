//! Pictures of the pages, for people: `cargo xtask screenshots`.

use std::path::Path;

use crate::{Console, sample_runs};

/// Takes them into the folder that `AGENTWARD_SHOTS` names.
#[test]
#[ignore = "makes pictures; run by `cargo xtask screenshots`"]
fn screenshots() {
    let folder = std::env::var("AGENTWARD_SHOTS").expect("AGENTWARD_SHOTS names a folder");
    let folder = Path::new(&folder);
    let runs = sample_runs();
    let console = Console::of(&[&runs[0], &runs[1]]);
    let mut browser = console.browser("shots");
    let alert = browser.eval("document.querySelector('#latest table a').getAttribute('href')");
    let alert = alert.as_str().expect("an alert is listed");
    let workflow = browser.eval("document.querySelector('#latest tbody a[href^=\"/workflows\"]').getAttribute('href')");
    let agent = browser.eval("document.querySelector('#latest tbody a[href^=\"/agents\"]').getAttribute('href')");
    let pages = [
        ("overview", "/"),
        ("alerts", "/alerts"),
        ("alert", alert),
        ("workflows", "/workflows"),
        ("workflow", workflow.as_str().expect("it has a workflow")),
        ("agents", "/agents"),
        ("agent", agent.as_str().expect("it has an agent")),
        ("rules", "/rules"),
    ];
    for scheme in ["light", "dark"] {
        browser.colours(scheme);
        for (name, path) in pages {
            browser.open(&format!("{}{path}", console.origin));
            browser.screenshot(&folder.join(format!("{name}-{scheme}.png")), true);
        }
    }
    // The first look at an alert, as the README shows it.
    browser.resize(1280, 1040);
    browser.colours("light");
    browser.open(&format!("{}{alert}", console.origin));
    browser.screenshot(&folder.join("readme.png"), false);
    browser.resize(640, 900);
    browser.colours("light");
    for (name, path) in pages {
        browser.open(&format!("{}{path}", console.origin));
        browser.screenshot(&folder.join(format!("{name}-zoomed.png")), true);
    }
    console.daemon.stop();
}
