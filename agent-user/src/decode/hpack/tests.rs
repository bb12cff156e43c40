//! RFC 7541's examples, and what a late reader may say. Public stories: `tests/replay/public.rs`.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex is ASCII"), 16).expect("hex digits"))
        .collect()
}

/// `name: value` lines; `?` for what is unknown.
fn shown(fields: &[Field]) -> Vec<String> {
    let show = |field: &Field| {
        let value = field.value.as_ref().map_or("?".into(), |value| String::from_utf8_lossy(value).into_owned());
        format!("{}: {value}", field.name.as_deref().unwrap_or("?"))
    };
    fields.iter().map(show).collect()
}

fn read(decoder: &mut Decoder, block: &[u8]) -> (Vec<Field>, Summary) {
    list(decoder, block).expect("a well-formed block")
}

fn refused(decoder: &mut Decoder, block: &str) -> Malformed {
    decoder.decode(&bytes(block), |_| {}).expect_err("no well-formed block")
}

fn check(decoder: &mut Decoder, block: &str, expected: &[&str]) {
    assert_eq!(shown(&read(decoder, &bytes(block)).0), expected);
}

const RESPONSE: [&str; 4] =
    [":status: 302", "cache-control: private", "date: Mon, 21 Oct 2013 20:13:21 GMT", "location: https://www.example.com"];
const RESPONSE_WITH_COOKIE: [&str; 6] = [
    ":status: 200",
    "cache-control: private",
    "date: Mon, 21 Oct 2013 20:13:22 GMT",
    "location: https://www.example.com",
    "content-encoding: gzip",
    "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
];

#[test]
fn single_fields_of_appendix_c2() {
    let cases = [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header"),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path"),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret"),
        ("82", ":method: GET"),
    ];
    for (block, field) in cases {
        check(&mut Decoder::new(), block, &[field]);
    }
}

#[test]
fn requests_of_appendix_c3_and_c4() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::new();
        let host = ":authority: www.example.com";
        check(&mut decoder, blocks[0], &[":method: GET", ":scheme: http", ":path: /", host]);
        check(&mut decoder, blocks[1], &[":method: GET", ":scheme: http", ":path: /", host, "cache-control: no-cache"]);
        let third = [":method: GET", ":scheme: https", ":path: /index.html", host, "custom-key: custom-value"];
        check(&mut decoder, blocks[2], &third);
    }
}

const RESPONSE_BLOCKS: [[&str; 3]; 2] = [
    [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 54 \
         6e17 6874 7470 733a 2f2f 7777 772e 6578 616d 706c 652e 636f 6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d \
         4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 \
         7369 6f6e 3d31",
    ],
    [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b \
         97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf \
         cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ],
];

#[test]
fn responses_of_appendix_c5_and_c6_evict() {
    for blocks in RESPONSE_BLOCKS {
        let mut decoder = Decoder::new();
        decoder.table.resize(256);
        check(&mut decoder, blocks[0], &RESPONSE);
        check(&mut decoder, blocks[1], &[":status: 307", RESPONSE[1], RESPONSE[2], RESPONSE[3]]);
        check(&mut decoder, blocks[2], &RESPONSE_WITH_COOKIE);
    }
}

#[test]
fn a_late_reader_knows_what_was_inserted_since() {
    for blocks in RESPONSE_BLOCKS {
        let mut late = Decoder::attached();
        check(&mut late, blocks[1], &[":status: 307", "?: ?", "?: ?", "?: ?"]);
        // Index 65 was `cache-control` when the first block came; now one entry is known and 65 is the third behind it.
        let third = ["?: ?", RESPONSE_WITH_COOKIE[2], "?: ?", RESPONSE_WITH_COOKIE[4], RESPONSE_WITH_COOKIE[5]];
        check(&mut late, blocks[2], &[&[":status: 200"], &third[..]].concat());
        // Everything first sent after the attach is right: 62 to 64 are set-cookie, content-encoding and date.
        check(&mut late, "bebfc0", &[RESPONSE_WITH_COOKIE[5], RESPONSE_WITH_COOKIE[4], RESPONSE_WITH_COOKIE[2]]);
    }
}

#[test]
fn an_unknown_name_keeps_its_value_and_its_place() {
    let mut late = Decoder::attached();
    check(&mut late, "7e0161 be bf", &["?: a", "?: a", "?: ?"]);
    check(&mut late, "4001780179 be bf", &["x: y", "x: y", "?: a"]);
}

#[test]
fn a_size_update_proves_what_is_gone() {
    let mut late = Decoder::attached();
    check(&mut late, "20 82", &[":method: GET"]);
    assert_eq!(refused(&mut late, "be"), Malformed::Index, "the table was emptied");
    // 64 octets: one unknown entry at most stands behind a known one of 34.
    let mut late = Decoder::attached();
    check(&mut late, "3f21 4001780179 be", &["x: y", "x: y"]);
    assert_eq!(refused(&mut late, "bf"), Malformed::Index, "30 octets hold no entry");
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new();
    check(&mut decoder, "3f03 4001780179", &["x: y"]);
    check(&mut decoder, "4001780461626364 4001610162", &["x: abcd", "a: b"]);
    assert_eq!(refused(&mut decoder, "bf"), Malformed::Index);
}

#[test]
fn malformed_blocks_are_named() {
    let cases = [
        ("80", Malformed::Index),
        ("be", Malformed::Index),
        ("40", Malformed::Cut),
        ("4001", Malformed::Cut),
        ("400178", Malformed::Cut),
        ("40017805 61", Malformed::Cut),
        ("ff", Malformed::Cut),
        ("ffffffffffffff01", Malformed::Integer),
        ("82 20", Malformed::LateSizeUpdate),
        ("40 81ff 0178", Malformed::Huffman),
    ];
    for (block, reason) in cases {
        assert_eq!(refused(&mut Decoder::new(), block), reason, "{block}");
    }
}

#[test]
fn lists_are_bounded_and_the_table_stays_right() {
    let block = |count: usize| [vec![0x82; count], bytes("4001780179")].concat();
    let mut decoder = Decoder::new();
    let (exact, said) = read(&mut decoder, &block(HEAD_FIELDS - 1));
    assert_eq!((exact.len(), said.too_many), (HEAD_FIELDS, false));
    let (over, said) = read(&mut decoder, &block(HEAD_FIELDS));
    assert_eq!((over.len(), said.too_many), (HEAD_FIELDS, true));
    check(&mut decoder, "be", &["x: y"]);

    // A name of one octet and a value of 2047, by reference: 32 of them are 64 KiB exactly.
    let mut decoder = Decoder::new();
    let insert = [bytes("400178 7f800f"), vec![b'v'; 2047]].concat();
    read(&mut decoder, &insert);
    let (exact, said) = read(&mut decoder, &[0xbe; HEAD_BYTES / 2048]);
    assert_eq!((exact.len(), said.too_large), (32, false));
    let (over, said) = read(&mut decoder, &[0xbe; HEAD_BYTES / 2048 + 1]);
    assert_eq!((over.len(), said.too_large), (32, true));
}

#[test]
fn a_table_beyond_the_bound_is_unknown_at_its_end_only() {
    let mut decoder = Decoder::new();
    // Size update to 1 MiB; entries of 1024 octets: 64 are the bound.
    read(&mut decoder, &bytes("3fe1ff3f"));
    let entry = |number: u8| [bytes("400178 7fe006"), vec![number; 991]].concat();
    for number in 0..64 {
        assert!(!read(&mut decoder, &entry(number)).1.table_over_limit);
    }
    let last = |decoder: &mut Decoder, index: usize| {
        let block = [0xff, (index - 127) as u8];
        read(decoder, &block).0.remove(0).value
    };
    assert_eq!(read(&mut decoder, &[0x80 | 62]).0[0].value, Some(vec![63; 991].into()));
    assert_eq!(decoder.table.get(125).expect("stands").value, Some(vec![0; 991].into()));
    assert!(read(&mut decoder, &entry(64)).1.table_over_limit);
    assert_eq!(decoder.table.get(125).expect("stands").value, Some(vec![1; 991].into()));
    assert_eq!(decoder.table.get(126).expect("may stand"), &Field::UNKNOWN);
    assert_eq!(last(&mut decoder, 127), None);
}

/// Every split of a sequence of blocks into "before" and "after the attach": what is reported is part of the truth, and what is
/// sent as a literal after it is complete.
fn check_late_readers(blocks: &[Vec<u8>]) {
    for attach in 0..blocks.len() {
        let mut whole = Decoder::new();
        for block in &blocks[..attach] {
            read(&mut whole, block);
        }
        let mut late = Decoder::attached();
        for block in &blocks[attach..] {
            let (truth, _) = read(&mut whole, block);
            let (seen, _) = read(&mut late, block);
            assert_eq!(seen.len(), truth.len());
            assert_part_of(&seen, &truth);
        }
    }
}

#[test]
fn late_readers_of_the_examples() {
    for blocks in RESPONSE_BLOCKS {
        let blocks: Vec<_> = [bytes("3fe101")].into_iter().chain(blocks.iter().map(|block| bytes(block))).collect();
        check_late_readers(&blocks);
    }
}

#[test]
fn any_bytes_are_survived() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for length in 0..2000 {
        let data: Vec<u8> = (0..length % 200)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Small numbers make well-formed blocks likelier.
                let byte = (state >> 56) as u8;
                if state >> 32 & 3 == 0 { byte } else { [0x40, 0x01, 0x61, 0xbe, 0xbf, 0x82, 0x7e, 0xff][usize::from(byte & 7)] }
            })
            .collect();
        fuzz(&data);
    }
}
