use super::*;
use crate::base::Value;
use crate::deliver::journal::Sequence;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("agentward-evidence-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn verifier(&self) -> Verifier {
        Verifier::parse(&fs::read_to_string(self.0.join("log.pub")).expect("is there")).expect("reads")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parcels(from: u64, to: u64) -> Vec<Parcel> {
    let parcel = |number: u64| Parcel {
        sequence: Sequence(number),
        uid: format!("u{number}"),
        revision: 0,
        time: 0,
        alert: Value::Null,
        text: format!("{{\"uid\":\"u{number}\",\"tags\":[\"attack.t1059\"]}}"),
    };
    (from..to).map(parcel).collect()
}

#[test]
fn a_log_goes_on_after_a_restart_and_counts_nothing_twice() {
    let folder = Folder::new("restart");
    for (from, to) in [(0, 100), (90, 300), (300, 301), (0, 520)] {
        let mut log = Log::open(&folder.0, "test").expect("opens");
        log.deliver(&parcels(from, to)).expect("appends");
    }
    assert_eq!(verify(&folder.0, &folder.verifier()), Verdict::Holds(520));
    assert!(folder.0.join("tile/0/000").is_file() && folder.0.join("tile/0/002.p/8").is_file());
    assert!(folder.0.join("tile/1/000.p/2").is_file() && folder.0.join("tile/entries/002.p/8").is_file());
}

/// Any byte of any file that counts, changed: the check says no.
#[test]
fn no_change_goes_unnoticed() {
    let folder = Folder::new("tamper");
    let mut log = Log::open(&folder.0, "test").expect("opens");
    log.deliver(&parcels(0, 300)).expect("appends");
    let verifier = folder.verifier();
    for (file, step) in [("checkpoint", 3), ("tile/entries/000", 211), ("tile/entries/001.p/44", 97), ("tile/0/000", 1009)] {
        let path = folder.0.join(file);
        let whole = fs::read(&path).expect("is there");
        for at in (0..whole.len()).step_by(step) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).expect("writes");
            assert!(matches!(verify(&folder.0, &verifier), Verdict::Broken(_)), "{file} byte {at}");
        }
        fs::write(&path, whole).expect("writes");
    }
    assert_eq!(verify(&folder.0, &verifier), Verdict::Holds(300));
}

#[test]
fn a_bundle_verifies_by_itself() {
    let folder = Folder::new("bundle");
    let mut log = Log::open(&folder.0, "test").expect("opens");
    log.deliver(&parcels(0, 400)).expect("appends");
    let verifier = folder.verifier();
    for number in [0, 1, 255, 256, 399] {
        let bundle = export(&folder.0, &verifier, &format!("u{number}")).expect("reads").expect("is there");
        assert_eq!((bundle.index, verify_bundle(&bundle, &verifier)), (number, Verdict::Holds(1)));
        assert_eq!((bundle.mapping[0].text.as_str(), bundle.mapping[0].point.as_str()), ("attack", "t1059"));
        for changed in [
            Bundle { entry: bundle.entry.replace("u", "v"), ..bundle.clone() },
            Bundle { index: bundle.index + 1, ..bundle.clone() },
            Bundle { path: bundle.path[1..].to_vec(), ..bundle.clone() },
            Bundle { checkpoint: bundle.checkpoint.replace("400", "401"), ..bundle.clone() },
        ] {
            assert!(matches!(verify_bundle(&changed, &verifier), Verdict::Broken(_)));
        }
    }
    assert_eq!(export(&folder.0, &verifier, "nobody").expect("reads"), None);
}

#[test]
fn long_records_are_kept_by_their_hash() {
    let folder = Folder::new("long");
    let mut log = Log::open(&folder.0, "test").expect("opens");
    let mut parcel = parcels(0, 1).remove(0);
    parcel.text = format!("{{\"uid\":\"u0\",\"x\":\"{}\"}}", "x".repeat(ENTRY_BYTES));
    log.deliver(&[parcel]).expect("appends");
    let bundle = export(&folder.0, &folder.verifier(), "u0").expect("reads").expect("is there");
    assert!(bundle.entry.contains("sha256") && bundle.entry.len() < 200);
}
