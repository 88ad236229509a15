//! `decode` on the recorded and constructed messages of `protocol/tests/vectors`, and on bad input.

use super::say;
use serde_json::Value;
use std::collections::BTreeSet;

/// Dialect, and a file of messages in it.
const FILES: [(&str, &str); 5] = [
    ("cups", include_str!("../../../protocol/tests/vectors/cups_unionpay_switch.json")),
    ("cups", include_str!("../../../protocol/tests/vectors/cups_constructed.json")),
    ("iso87-ascii", include_str!("../../../protocol/tests/vectors/moov_iso87_ascii.json")),
    ("iso87-ascii", include_str!("../../../protocol/tests/vectors/jpos_iso87_ascii.json")),
    ("unionpay-pos", include_str!("../../../protocol/tests/vectors/unionpay_pos_tpdu_bcd.json")),
];

struct Vector {
    dialect: &'static str,
    id: String,
    framed: bool,
    hex: String,
    expected: Value,
}

impl Vector {
    /// Every message of the files, as `decode` takes it.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (dialect, text) in FILES {
            let file: Value = serde_json::from_str(text).unwrap();
            for vector in file["vectors"].as_array().unwrap() {
                if vector["expected"]["mti"].is_null() {
                    continue;
                }
                let layer = vector["layer"].as_str().unwrap();
                let hex = vector["hex"].as_str().unwrap();
                // The recordings of terminals lack the two bytes of length, the CUPS one with a
                // header its four digits.
                let (framed, hex) = match layer {
                    "frame" => (true, hex.to_owned()),
                    _ if layer.starts_with("TPDU") => (true, format!("{:04X}{hex}", hex.len() / 2)),
                    _ if layer.starts_with("payload") => (false, hex.to_owned()),
                    _ => continue,
                };
                let id = vector["id"].as_str().unwrap().to_owned();
                all.push(Self { dialect, id, framed, hex, expected: vector["expected"].clone() });
            }
        }
        assert!(all.len() > 50, "{} vectors", all.len());
        all
    }

    fn named(id: &str) -> Self {
        Self::all().into_iter().find(|vector| vector.id == id).unwrap()
    }

    fn decode(&self, more: &[&str]) -> String {
        let mut line = vec!["decode", "--dialect", self.dialect];
        if self.framed {
            line.push("--framed");
        }
        line.extend(more);
        line.push(&self.hex);
        let said = say(&line, "");
        assert_eq!((said.code, said.problems.as_str()), (0, ""), "{}", self.id);
        said.output
    }

    fn value(&self, field: &str) -> Option<&str> {
        self.expected["fields"][field]["value"].as_str()
    }
}

/// Every account number of the vectors: DE 2, those in tracks, and those in DE 55 (tags 5A, 57).
fn account_numbers(vectors: &[Vector]) -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    for vector in vectors {
        let chip = &vector.expected["fields"]["55"]["tlv"];
        let places = ["2", "35", "36", "45"].into_iter().filter_map(|field| vector.value(field));
        for text in places.chain(["5A", "57"].into_iter().filter_map(|tag| chip[tag].as_str())) {
            let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
            let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
            let number = &text[..digits(text)];
            if (13..=19).contains(&number.len()) {
                numbers.insert(number.to_owned());
            }
        }
    }
    assert!(numbers.len() > 5, "{} account numbers", numbers.len());
    numbers
}

#[test]
fn a_purchase_shows_its_fields_and_hides_its_card() {
    let table = Vector::named("c-0200-nfc-nopin").decode(&[]);
    let line = |number: &str| {
        let found = table.lines().find(|line| line.split_whitespace().next() == Some(number));
        found.unwrap_or_else(|| panic!("{number}\n{table}"))
    };
    assert!(line("MTI").ends_with("0200"));
    assert!(line("2").ends_with("  621626*********0018"));
    assert!(line("2").contains("Primary account number"));
    assert!(line("4").ends_with("  000000012345"));
    assert!(line("35").contains("621626*********0018"));
    assert!(!line("35").contains("301"), "nothing after the account: {}", line("35"));
    assert!(line("55.9F26").ends_with("  5D016C91005E7CC2"));
}

#[test]
fn a_response_says_what_its_code_means() {
    let table = Vector::named("c-0210-declined-51").decode(&[]);
    assert!(table.contains("  51 (insufficient funds)\n"), "{table}");
}

#[test]
fn pin_blocks_show_their_length_only() {
    let vector = Vector::named("c-0200-nfc-pin");
    let pin_block = vector.value("52").unwrap();
    for output in [vector.decode(&[]), vector.decode(&["--json"])] {
        assert!(!output.contains(pin_block));
        assert!(output.contains("8 bytes"), "{output}");
    }
}

#[test]
fn json_has_the_mti_and_the_fields_in_order() {
    for vector in Vector::all() {
        let text = vector.decode(&["--json"]);
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["mti"], vector.expected["mti"], "{}", vector.id);
        let stated = vector.expected["fields"].as_object().unwrap();
        let decoded = json["fields"].as_object().unwrap();
        assert_eq!(decoded.len(), stated.len(), "{}", vector.id);
        for field in ["3", "4", "7", "11", "37", "39", "41", "49", "70"] {
            if let (Some(value), false) =
                (vector.value(field), stated.get(field).is_some_and(|it| it["hex"] == true))
            {
                assert_eq!(decoded[field], value, "{} DE {field}", vector.id);
            }
        }
        let keys = text.lines().filter_map(|line| line.trim().strip_prefix('"'));
        let numbers: Vec<u8> = keys.filter_map(|key| key.split('"').next()?.parse().ok()).collect();
        assert!(numbers.is_sorted() && numbers.len() == stated.len(), "{numbers:?}");
    }
}

#[test]
fn no_account_number_of_any_vector_is_printed() {
    let vectors = Vector::all();
    let numbers = account_numbers(&vectors);
    for vector in &vectors {
        for output in [vector.decode(&[]), vector.decode(&["--json"])] {
            // Hexadecimal spelling of text hides nothing.
            let spelled = |number: &str| number.bytes().map(|b| format!("{b:02X}")).collect();
            // One vector has the digits of its card for its DE 53 too, which is no card's number.
            let own = |number: &&String| vector.value("53") != Some(number.as_str());
            for number in numbers.iter().filter(own) {
                let spelled: String = spelled(number);
                assert!(!output.contains(number.as_str()), "{}", vector.id);
                assert!(!output.contains(&spelled), "{}", vector.id);
            }
        }
    }
}

#[test]
fn hexadecimal_text_may_have_spaces_and_come_from_standard_input() {
    let vector = Vector::named("c-0200-nfc-nopin");
    let table = vector.decode(&[]);
    let spaced: String = vector
        .hex
        .to_lowercase()
        .as_bytes()
        .chunks(3)
        .map(|chunk| format!("{}\n ", std::str::from_utf8(chunk).unwrap()))
        .collect();
    assert_eq!(say(&["decode", "--framed", "-"], &spaced).output, table);
    assert_eq!(say(&["decode", "--framed", &spaced], "").output, table);
    let words: Vec<&str> =
        ["decode", "--framed"].into_iter().chain(spaced.split_whitespace()).collect();
    assert_eq!(say(&words, "").output, table);
}

#[test]
fn what_is_not_a_message_is_code_1_in_one_sentence() {
    let vector = Vector::named("c-0200-nfc-nopin");
    let (short, long) = (&vector.hex[..200], format!("{}00", vector.hex));
    for (line, sentence) in [
        (&["decode", ""][..], "no message: there is not one hexadecimal digit\n"),
        (&["decode", "303"], "an odd number of hexadecimal digits: half a byte is missing\n"),
        (&["decode", "30 3g"], "character 5 is not a hexadecimal digit\n"),
        (&["decode", "3032"], "not in dialect cups: message ends inside its MTI or bitmap\n"),
        (&["decode", "--framed", "30303030"], "an idle probe: there is no message in it\n"),
        (&["decode", "--framed", "3x"], "character 2 is not a hexadecimal digit\n"),
        (&["decode", "--framed", "30303a31"], "frame length is not four digits\n"),
        (&["decode", "--framed", "3030303130"], "the frame's header is too short or malformed\n"),
        (&["decode", "--framed", "--dialect", "iso87-ascii", "0000"], "frame length is 0\n"),
        (&["decode", "--framed", short], "the frame has 473 bytes or more, only 100 are there\n"),
        (&["decode", "--framed", &long], "1 bytes follow the frame of 473\n"),
    ] {
        let said = say(line, "");
        assert_eq!((said.code, said.output.as_str()), (1, ""), "{line:?}");
        assert_eq!(said.problems, sentence);
    }
    assert_eq!(say(&["decode", "--dialect", "ebcdic", "30"], "").code, 2);
    assert_eq!(say(&["decode"], "").code, 2);
}

#[test]
fn standard_input_without_end_is_refused() {
    let endless = "30".repeat(1 << 20);
    let said = say(&["decode", "-"], &endless);
    assert_eq!((said.code, said.output.as_str()), (1, ""));
    assert_eq!(said.problems, "more than 1048576 characters\n");
}

#[test]
fn a_broken_message_shows_what_comes_before_the_break() {
    // MTI, bitmap of 3, 4 and 11; DE 4 holds a letter.
    let text = "02003020000000000000000000000000012A45123456";
    let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    let said = say(&["decode", "--dialect", "iso87-ascii", &hex], "");
    assert_eq!(said.code, 1);
    assert_eq!(
        said.problems,
        "not in dialect iso87-ascii: DE 4: content is outside the field's class\n"
    );
    assert!(said.output.contains("MTI       0200\n"), "{}", said.output);
    assert!(said.output.contains("Processing code"), "{}", said.output);
    let cut = &hex[..hex.len() - 4];
    let said = say(&["decode", "--json", "--dialect", "iso87-ascii", cut], "");
    assert_eq!(said.code, 1);
    let json: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!((&json["mti"], &json["fields"]["3"]), (&"0200".into(), &"000000".into()));
}
