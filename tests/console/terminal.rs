//! `agentward top` in a real terminal: tmux, at the smallest size and at a large one.

use std::path::PathBuf;
use std::process::Command;

use agent_tests::program::binary;
use agent_tests::{Scratch, wait_for};

use crate::{hostile, sample_runs};

/// A tmux server of its own with one session, which runs `top`.
struct Terminal {
    socket: PathBuf,
    _scratch: Scratch,
}

impl Terminal {
    fn start(name: &str, width: u32, height: u32, colour: bool, recording: &str) -> Terminal {
        let scratch = Scratch::new(name);
        let terminal = Terminal { socket: scratch.path("tmux"), _scratch: scratch };
        let program =
            format!("{}'{}' top --from '{recording}'; sleep 600", if colour { "" } else { "NO_COLOR=1 " }, binary().display());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &width.to_string(), "-y", &height.to_string(), &program]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let done = Command::new("tmux").arg("-S").arg(&self.socket).args(arguments).env_remove("TMUX").output();
        let done = done.expect("tmux starts; `cargo xtask test` installs it");
        assert!(done.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The screen once it shows `word`.
    fn shows(&self, word: &str) -> String {
        wait_for(word, || Some(self.tmux(&["capture-pane", "-p"])).filter(|screen| screen.contains(word)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

#[test]
#[ignore = "needs tmux, which `cargo xtask test` installs"]
fn top_is_whole_in_a_small_and_a_large_terminal() {
    let runs = sample_runs();
    for (width, height) in [(80, 24), (200, 50)] {
        let terminal = Terminal::start(&format!("top-{width}"), width, height, true, &runs[0]);
        // A screen may be looked at while it is drawn: each word comes in its time.
        for word in ["python3.11", "agentward", "2 high", "blind", "Models", "gpt-5", "Tools", "refund_order", "Hosts", "q quit"]
        {
            terminal.shows(word);
        }
        terminal.press(&["3"]);
        terminal.shows("served");
        terminal.press(&["Enter"]);
        terminal.shows("What happened");
        terminal.shows("require the user's confirmation");
        terminal.press(&["Enter"]);
        terminal.shows("Workflow w2");
        terminal.press(&["G"]);
        terminal.shows("! HIGH");
        terminal.press(&["Escape"]);
        terminal.shows("What happened");
        terminal.press(&["p"]);
        terminal.shows("PAUSED");
        terminal.press(&["q"]);
        // The screen of before is back: the program put the terminal as it was.
        wait_for("the end", || (!terminal.tmux(&["capture-pane", "-p"]).contains("q quit")).then_some(()));
    }
}

#[test]
#[ignore = "needs tmux, which `cargo xtask test` installs"]
fn captured_text_does_not_steer_the_terminal() {
    let scratch = Scratch::new("top-hostile-recording");
    let file = scratch.path("hostile.jsonl");
    std::fs::write(&file, hostile::recording()).expect("the scratch folder is writable");
    let terminal = Terminal::start("top-hostile", 80, 24, false, file.to_str().expect("a plain name"));
    terminal.shows("1 Agents");
    let title = terminal.tmux(&["display-message", "-p", "#{pane_title}"]);
    for keys in [
        &["2"][..],
        &["Enter"],
        &["G"],
        &["Escape"],
        &["3"],
        &["Enter"],
        &["G"],
        &["Enter"],
        &["1"],
        &["Enter"],
        &["G"],
        &["Escape"],
    ] {
        terminal.press(keys);
        // Drawn after each key: the head is where it belongs, the last line too.
        let screen = wait_for("a whole screen", || {
            let screen = terminal.tmux(&["capture-pane", "-p"]);
            let whole = screen.lines().next().is_some_and(|line| line.starts_with("agentward "))
                && screen.lines().nth(23).is_some_and(|line| line.contains("q quit") || line.contains("not there"));
            whole.then_some(screen)
        });
        assert_eq!(screen.lines().count(), 24, "{screen}");
        assert!(!screen.chars().any(|letter| letter != '\n' && (letter.is_control() || letter == '\u{202e}')), "{screen:?}");
    }
    let colours = terminal.tmux(&["capture-pane", "-p", "-e"]);
    // 39 and 49 ask for the terminal's own colours.
    let set =
        (0..8).flat_map(|colour| [format!("\u{1b}[3{colour}m"), format!("\u{1b}[4{colour}m"), format!("\u{1b}[9{colour}m")]);
    assert!(set.into_iter().all(|code| !colours.contains(&code)), "NO_COLOR is ignored: {colours:?}");
    assert_eq!(terminal.tmux(&["display-message", "-p", "#{pane_title}"]), title, "the title was set");
}
