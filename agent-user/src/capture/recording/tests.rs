use super::*;

const EVERY_KIND: &str = r#"{"ts":1,"kind":"exec","pid":7,"ppid":1,"start":5,"uid":0,"exe":"/bin/a","argv":["a","-b"],"cwd":"/","cgroup":"/x"}
{"ts":2,"kind":"fork","pid":8,"ppid":7}
{"ts":3,"kind":"exit","pid":8,"code":-9}
{"ts":4,"kind":"socket","pid":7,"fd":3,"op":"connect","local":"127.0.0.1:1","peer":"[::1]:443","conn":"c1"}
{"ts":5,"kind":"chunk","pid":7,"tid":9,"conn":"c1","dir":"out","off":0,"source":"openssl","sni":"h","peer":"[::1]:443","local":"127.0.0.1:1","role":"client","text":"GET / \"é\"\r\n"}
{"ts":6,"kind":"chunk","pid":7,"conn":"c1","dir":"in","source":"stdio","data":"/wD+"}
{"ts":7,"kind":"close","pid":7,"conn":"c1"}
{"ts":8,"kind":"loss","cause":"solar_wind","count":3,"pid":7,"conn":"c1","dir":"in","bytes":12}
{"ts":9,"kind":"file","pid":7,"op":"rename","path":"/a","to":"/b"}
"#;

fn read_all(input: &[u8], lenient: bool) -> (Vec<Observation>, u64, Option<RecordingError>) {
    let mut reader = match Reader::new(input, lenient) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), 0, Some(error)),
    };
    let mut seen = Vec::new();
    loop {
        match reader.next_observation() {
            Ok(Some(observation)) => seen.push(observation),
            Ok(None) => return (seen, reader.skipped(), None),
            Err(error) => return (seen, reader.skipped(), Some(error)),
        }
    }
}

fn write_all(observations: &[Observation], encoding: Encoding) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), encoding, "agentward test").expect("a Vec takes everything");
    for observation in observations {
        writer.write(observation).expect("a Vec takes everything");
    }
    writer.into_inner()
}

#[test]
fn both_encodings_carry_every_field() {
    let (seen, skipped, error) = read_all(EVERY_KIND.as_bytes(), false);
    assert!(error.is_none(), "{error:?}");
    assert_eq!((seen.len(), skipped), (9, 0));
    assert_eq!(String::from_utf8(write_all(&seen, Encoding::Jsonl)).expect("JSON is UTF-8"), EVERY_KIND);
    let binary = write_all(&seen, Encoding::Awr);
    let (again, _, error) = read_all(&binary, false);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(again, seen);
}

/// A recording cut at any byte gives every whole record before the cut, then says that it is cut.
#[test]
fn a_cut_is_named_and_loses_nothing_before_it() {
    let (seen, _, _) = read_all(EVERY_KIND.as_bytes(), false);
    for encoding in [Encoding::Awr, Encoding::Jsonl] {
        let whole = write_all(&seen, encoding);
        let ends: Vec<usize> = (0..=seen.len()).map(|count| write_all(&seen[..count], encoding).len()).collect();
        for cut in ends[0]..whole.len() {
            let (read, _, error) = read_all(&whole[..cut], false);
            let before = ends.iter().filter(|end| **end <= cut).count() - 1;
            let line_without_its_end = encoding == Encoding::Jsonl && whole[cut] == b'\n';
            assert_eq!(read.len(), before + usize::from(line_without_its_end), "{encoding:?} cut at {cut}");
            let clean = ends.contains(&cut) || line_without_its_end;
            assert_eq!(error.as_ref().is_some_and(|error| error.cut), !clean, "{encoding:?} cut at {cut}: {error:?}");
            assert_eq!(read_all(&whole[..cut], true).2.map(|error| error.reason), None, "lenient, {encoding:?} cut at {cut}");
        }
    }
}

fn refused(line: &str, place: (u64, usize), words: &str) {
    let (_, _, error) = read_all(line.as_bytes(), false);
    let error = error.unwrap_or_else(|| panic!("accepted: {line}"));
    assert!(error.reason.contains(words), "{line}: {error}");
    assert_eq!(error.place, Place::Line { line: place.0, column: place.1 }, "{line}: {error}");
}

#[test]
fn faults_name_line_and_column() {
    refused("{\"ts\":1,\"kind\":\"exit\",\"pid\":1}\n\n{\"ts\":1,\"kind\":\"nap\",\"pid\":1}\n", (3, 9), "unknown kind");
    refused("{\"ts\":1,\"kind\":\"exit\",\"pid\":1,\"colour\":2}\n", (1, 38), "unknown field `colour`");
    refused("{\"ts\":1,\"kind\":\"exit\",\"pid\":1,\"ppid\":2}\n", (1, 36), "unknown field `ppid`");
    refused("{\"ts\":1,\"kind\":\"exit\"}\n", (1, 22), "missing field `pid`");
    refused("{\"ts\":-1,\"kind\":\"exit\",\"pid\":1}\n", (1, 8), "invalid value");
    refused("{\"ts\":1,\"kind\":\"exit\",\"pid\":1} x\n", (1, 32), "trailing characters");
    refused("{\"ts\":1,\"kind\":\"exit\",\"pid\":1,\"pid\":2}\n", (1, 35), "duplicate field");
    refused("{\"ts\":1,\"kind\":\"file\",\"pid\":1,\"op\":\"eat\",\"path\":\"/\"}\n", (1, 40), "unknown word");
    refused(
        "{\"ts\":1,\"kind\":\"chunk\",\"pid\":1,\"conn\":\"c\",\"dir\":\"out\",\"source\":\"plain\",\"data\":\"*\"}\n",
        (1, 81),
        "not base64",
    );
    refused(
        "{\"ts\":1,\"kind\":\"chunk\",\"pid\":1,\"conn\":\"c\",\"dir\":\"out\",\"source\":\"plain\",\"data\":\"\",\"text\":\"\"}\n",
        (1, 1),
        "either data or text",
    );
    refused("PK\x03\x04", (1, 1), "expected value");
}

#[test]
fn lenient_skips_and_counts() {
    let lines = "{\"ts\":1,\"kind\":\"nap\"}\n{\"ts\":2,\"kind\":\"exit\",\"pid\":1,\"colour\":2}\n";
    let (seen, skipped, error) = read_all(lines.as_bytes(), true);
    assert!(error.is_none(), "{error:?}");
    assert_eq!((seen.len(), skipped), (1, 1));
}

#[test]
fn a_hostile_length_allocates_nothing() {
    let mut file = write_all(&[], Encoding::Awr);
    file.extend_from_slice(&u32::MAX.to_le_bytes());
    let (_, _, error) = read_all(&file, false);
    assert!(error.expect("refused").reason.contains("damaged"));
}
