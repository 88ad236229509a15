//! Command lines as a person types them: output, messages, exit codes.

mod decode;
mod journal;

use super::*;

/// What a command line printed, and its exit code.
struct Said {
    code: u8,
    output: String,
    problems: String,
}

fn say(arguments: &[&str], input: &str) -> Said {
    let (mut output, mut problems) = (Vec::new(), Vec::new());
    let mut streams =
        Streams { input: &mut input.as_bytes(), output: &mut output, problems: &mut problems };
    let line = ["tapswitch"].iter().chain(arguments).map(OsString::from);
    let code = execute(line, &mut streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code, output: text(output), problems: text(problems) }
}

/// A configuration file that goes away with this value.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tapswitch-{name}-{}", std::process::id()));
        // What a killed process of this number has left.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, text: &str) -> String {
        let path = self.0.join("switch.toml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn wrong_usage_is_code_2_and_help_is_code_0() {
    for wrong in [&[][..], &["fly"], &["check"], &["check", "a", "b"], &["check", "--fast", "a"]] {
        let said = say(wrong, "");
        assert_eq!(said.code, 2, "{wrong:?}");
        assert!(said.problems.contains("Usage: tapswitch"), "{}", said.problems);
        assert_eq!(said.output, "");
    }
    let said = say(&["--help"], "");
    assert_eq!((said.code, said.problems.as_str()), (0, ""));
    assert!(said.output.contains("check "));
    assert!(say(&["--version"], "").output.starts_with("tapswitch "));
}

#[test]
fn check_sums_up_a_configuration() {
    let folder = Folder::new("check-good");
    let file = folder.file("[switch]\nshards = 2\n[velocity]\nlines = 1024\n");
    let said = say(&["check", &file], "");
    assert_eq!((said.code, said.problems.as_str()), (0, ""));
    for part in [
        "switch.toml: no problems\n",
        "acquirer  cups at 127.0.0.1:8583: dialect cups, framing cups, sign-on not required",
        "within 10,000 ms, of which issuers have 8,000; transit 5,000 and 4,000",
        "named by DE 7 11 32 33",
        "shards    2 on ",
        "issuers   20, 560 IIN prefixes",
        "ICBC 68",
        "4 counters in 6 of the 6 words of a card's line of 64 bytes, 8 limits",
        "counter       per card and                set back  counts\n",
        "qr_day        a day (UTC+08:00)                     entry mode 03",
        "by PIN    kind purchase preauthorization and entry mode 07 91 92 98 and PIN absent",
        "transit_hour  1 hour (rolling in 1 part)            MCC 4111 4112 4131 4784",
        "limit           at most          of             code  judges\n",
        "largest         50,000.00        a transaction  61    all transactions",
        "qr_level_b      5,000.00         qr_day         61    QR level B",
        "transit_hourly  20 transactions  transit_hour   65    all transactions",
        "journal   off, for there is no journal.data_dir: a restart forgets limits,",
        "   64 KiB  velocity, 1,024 cards",
        "  128 MiB  answers for repeats, 2 x 64 MiB",
        "153.5 s at 10,000 a second; acquirers repeat for 30 s",
        "  256 MiB  originals for reversals, 2 x 128 MiB",
        "reversals 1,864,135 originals a shard: 372.8 s at 10,000 a second",
    ] {
        assert!(said.output.contains(part), "{part}\n{}", said.output);
    }
}

#[test]
fn check_shows_counters_of_tokens_and_requestors() {
    let folder = Folder::new("check-tokens");
    let text = "[switch]\nshards = 2\n[velocity]\nlines = 1024\n[[velocity.counter]]\nname = \"phone\"\n\
                scope = \"token\"\nwindow = \"day\"\n[[velocity.limit]]\nname = \"taps\"\n\
                counter = \"phone\"\ncount_max = 50\n";
    let requestor = "[requestor.mi-pay]\nid = \"00012345678\"\nqr_level = \"B\"\n";
    let shop = "[[velocity.counter]]\nname = \"shop\"\nscope = \"merchant\"\nwindow = \"day\"\n\
                [[velocity.limit]]\nname = \"shops\"\ncounter = \"shop\"\namount_minor_max = 400\n";
    let said = say(&["check", &folder.file(&format!("{text}{requestor}"))], "");
    assert_eq!((said.code, said.problems.as_str()), (0, ""));
    for part in [
        "phone    token  a day (UTC+08:00)  all transactions\n",
        "limits of tokens are exact: a token is counted where its card is\n",
        "taps   50 transactions  phone  65    all transactions\n",
        "requestors 1, by DE 63; payments by code of all others are at level C\n",
        "mi-pay 00012345678: level B\n",
        "terminals, merchants, acquirers, tokens, 2 x 1 counters x 65,536\n",
    ] {
        assert!(said.output.contains(part), "{part}\n{}", said.output);
    }
    assert!(!said.output.contains("escrow"), "{}", said.output);
    let said = say(&["check", &folder.file(&format!("{text}{shop}"))], "");
    let others = "limits of the others are by escrow: never passed, and may decline early";
    assert!(said.output.contains(others), "{}", said.output);
    assert!(said.output.contains("shops: each shard uses 1.00 without asking"), "{}", said.output);
    assert!(!said.output.contains("taps: each"), "{}", said.output);
}

#[test]
fn check_says_what_a_crash_loses_and_what_is_missing() {
    let folder = Folder::new("check-journal");
    let text = "[switch]\nshards = 2\n[velocity]\nlines = 1024\n[journal]\ndata_dir = \"data\"\n";
    let file = folder.file(text);
    let said = say(&["check", &file], "");
    assert_eq!(said.code, 0);
    assert!(said.output.contains("no problems, 2 warnings\n"), "{}", said.output);
    for part in ["data is not there; the first start makes it", "needs a card key that lasts"] {
        assert!(said.problems.contains(part), "{part}\n{}", said.problems);
    }
    for part in [
        "journal   strict, a crash loses nothing that an acquirer was told\n",
        "256 MiB of the disk before the first record: 2 x 2 segments of 64 MiB\n",
        "a snapshot every 1 minute or 1 GiB of records, two of them kept\n",
        "32 MiB  records on their way to the disk, 2 x 2 buffers\n",
        "open pre-authorizations, 2 x ",
    ] {
        assert!(said.output.contains(part), "{part}\n{}", said.output);
    }
    std::fs::create_dir(folder.0.join("data")).unwrap();
    say(&["key", "new", &folder.0.join("card.key").display().to_string()], "");
    let text = text.to_owned() + "durability = \"relaxed\"\n[keys]\ncard_key_file = \"card.key\"\n";
    let said = say(&["check", &folder.file(&text)], "");
    assert_eq!((said.code, said.problems.as_str()), (0, ""));
    let lost = "journal   relaxed, a crash loses up to 10 ms of what was answered\n";
    assert!(said.output.contains(lost), "{}", said.output);
}

#[test]
fn check_says_when_a_settlement_date_ends() {
    let folder = Folder::new("check-cutoff");
    for (text, said) in [
        ("cutoff = \"23:00\"", "cut-off   23:00 UTC+08:00: a settlement date ends there; answers"),
        (
            "cutoff = \"04:30\"\ncutoff_zone_offset_minutes = -210",
            "cut-off   04:30 UTC-03:30: a settlement date ends there; answers",
        ),
        (
            "",
            "cut-off   midnight UTC: a settlement date ends there; answers state none of their own",
        ),
    ] {
        let text = format!("[switch]\nshards = 2\n{text}\n[velocity]\nlines = 1024\n");
        let shown = say(&["check", &folder.file(&text)], "");
        assert!(shown.output.contains(said), "{said}\n{}", shown.output);
    }
}

#[test]
fn check_names_every_mistake_with_code_78() {
    let folder = Folder::new("check-bad");
    let file = folder.file("[switch]\nidle = \"nap\"\n[bank]\nseed = -1\n");
    let said = say(&["check", &file], "");
    assert_eq!((said.code, said.output.as_str()), (78, ""));
    assert!(said.problems.contains("switch.toml:2: switch.idle: unknown `nap`"));
    assert!(said.problems.contains("switch.toml:4: bank.seed: -1 is outside"));
    let said = say(&["check", "no-such-file.toml"], "");
    assert_eq!(said.code, 78);
    assert!(said.problems.starts_with("no-such-file.toml: cannot be read: "));
}

#[test]
fn check_tells_warnings_apart() {
    let folder = Folder::new("check-doubt");
    let said = say(&["check", &folder.file("[bank]\ncores = [0]\n")], "");
    assert_eq!(said.code, 0);
    assert!(said.output.contains("no problems, 1 warning\n"), "{}", said.output);
    assert!(said.problems.starts_with("warning: "), "{}", said.problems);
    assert!(said.problems.contains("switch.toml:2: bank.cores: has no effect"));
}

#[test]
fn a_card_key_is_made_once() {
    let folder = Folder::new("key");
    let file = folder.0.join("card.key").display().to_string();
    let said = say(&["key", "new", &file], "");
    assert_eq!((said.code, said.problems.as_str()), (0, ""));
    assert!(said.output.starts_with(&format!("{file}: a new card key, check ")), "{}", said.output);
    let key = std::fs::read_to_string(&file).unwrap();
    assert!(!said.output.contains(key.trim()), "the key itself is not shown");
    let said = say(&["key", "new", &file], "");
    assert_eq!((said.code, said.output.as_str()), (1, ""));
    assert!(said.problems.contains("is there already"), "{}", said.problems);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), key);
}

/// Accepts nothing, as a full disk or a closed pipe does.
struct Refusing(io::ErrorKind);

impl Write for Refusing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn output_that_cannot_be_written_is_code_1() {
    let folder = Folder::new("check-full");
    let file = folder.file("");
    for (kind, silent) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
        let mut problems = Vec::new();
        let mut streams = Streams {
            input: &mut io::empty(),
            output: &mut Refusing(kind),
            problems: &mut problems,
        };
        let line = ["tapswitch", "check", &file].map(OsString::from);
        assert_eq!(execute(line, &mut streams), 1);
        assert_eq!(problems.is_empty(), silent, "{kind}");
    }
}
