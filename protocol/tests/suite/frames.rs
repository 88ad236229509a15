//! Frames in a byte stream: split anywhere, damaged, sent back, answered.

use crate::corpus;
use tapswitch_protocol::frame::HeaderProblem;
use tapswitch_protocol::header::{CupsHeader, cups_header};
use tapswitch_protocol::{FrameError, FrameStep, Framing};

const MAX: usize = 2048;
const ALL: [Framing; 3] = [Framing::Cups, Framing::Be2, Framing::Be2Tpdu];

/// A frame with this body and a header of its framing.
fn frame(framing: Framing, body: &[u8]) -> Vec<u8> {
    let cups = cups_header(b"00010000   ", b"03330000   ");
    let header: &[u8] = match framing {
        Framing::Cups => &cups,
        Framing::Be2 => &[],
        Framing::Be2Tpdu => b"\x60\x00\x03\x12\x34\x60\x31\x00\x31\x01\x00",
    };
    let mut out = vec![0; MAX];
    let body_at = framing.begin(header, &mut out).unwrap();
    let end = body_at + body.len();
    out[body_at..end].copy_from_slice(body);
    framing.finish(&mut out, end);
    out.truncate(end);
    out
}

#[test]
fn framings_have_names() {
    for (name, framing) in ["cups", "be2", "be2-tpdu"].into_iter().zip(ALL) {
        assert_eq!(Framing::named(name), Some(framing));
    }
    assert_eq!(Framing::named("CUPS"), None);
}

#[test]
fn a_frame_split_anywhere_asks_for_more_until_it_is_whole() {
    for framing in ALL {
        let whole = frame(framing, b"a message");
        for split in 0..whole.len() {
            let needed =
                if split < framing.prefix_bytes() { framing.prefix_bytes() } else { whole.len() };
            let step = framing.next(&whole[..split], MAX);
            assert_eq!(
                step,
                Ok(FrameStep::Incomplete { bytes_needed: needed }),
                "{framing:?} {split}"
            );
        }
        let two = [whole.as_slice(), &whole].concat();
        for end in whole.len()..=two.len() {
            let Ok(FrameStep::Message { header, body, bytes }) = framing.next(&two[..end], MAX)
            else {
                panic!("{framing:?} {end}");
            };
            assert_eq!(
                (header.len(), body, bytes),
                (framing.header_bytes(), &b"a message"[..], whole.len())
            );
        }
    }
}

#[test]
fn lengths_of_zero_are_a_probe_or_an_error() {
    assert_eq!(Framing::Cups.next(b"0000", MAX), Ok(FrameStep::Probe { bytes: 4 }));
    assert_eq!(Framing::Cups.next(b"00000052", MAX), Ok(FrameStep::Probe { bytes: 4 }));
    assert_eq!(Framing::Cups.next(b"000", MAX), Ok(FrameStep::Incomplete { bytes_needed: 4 }));
    for framing in [Framing::Be2, Framing::Be2Tpdu] {
        assert_eq!(framing.next(&[0, 0], MAX), Err(FrameError::Zero));
        assert_eq!(framing.next(&[0], MAX), Ok(FrameStep::Incomplete { bytes_needed: 2 }));
    }
}

#[test]
fn frames_above_the_maximum_are_refused_by_their_length_alone() {
    for framing in ALL {
        let whole = frame(framing, b"body");
        let prefix = &whole[..framing.prefix_bytes()];
        assert!(matches!(framing.next(prefix, whole.len()), Ok(FrameStep::Incomplete { .. })));
        assert_eq!(framing.next(prefix, whole.len() - 1), Err(FrameError::TooLong), "{framing:?}");
    }
    assert_eq!(Framing::Cups.next(b"9999", MAX), Err(FrameError::TooLong));
    assert_eq!(Framing::Be2.next(&[0xFF, 0xFF], MAX), Err(FrameError::TooLong));
}

#[test]
fn a_length_that_is_not_digits_loses_the_framing_as_soon_as_it_is_seen() {
    for place in 0..4 {
        for wrong in [b'x', b' ', b'-', b':', b'/', 0, 0xFF] {
            let mut length = *b"0052";
            length[place] = wrong;
            assert_eq!(Framing::Cups.next(&length[..=place], MAX), Err(FrameError::NotDigits));
            assert_eq!(Framing::Cups.next(&length, MAX), Err(FrameError::NotDigits));
            assert!(Framing::Cups.next(&length[..place], MAX).is_ok());
        }
    }
}

#[test]
fn a_frame_with_an_unusable_header_is_skipped_whole() {
    let good = frame(Framing::Cups, b"a message");
    let unusable = |reason| Ok(FrameStep::Unusable { reason, bytes: good.len() });
    let mut short_header = good.clone();
    short_header[4] = 45;
    assert_eq!(Framing::Cups.next(&short_header, MAX), unusable(HeaderProblem::Malformed));
    for place in 45..50 {
        let mut rejected = good.clone();
        rejected[place] = b'1';
        assert_eq!(Framing::Cups.next(&rejected, MAX), unusable(HeaderProblem::Rejected));
    }
    // A frame too short for its header.
    let reason = HeaderProblem::Malformed;
    let torn = [b"0045".as_slice(), &[46; 45]].concat();
    assert_eq!(Framing::Cups.next(&torn, MAX), Ok(FrameStep::Unusable { reason, bytes: 49 }));
    let torn = [[0, 10].as_slice(), &[0; 10]].concat();
    assert_eq!(Framing::Be2Tpdu.next(&torn, MAX), Ok(FrameStep::Unusable { reason, bytes: 12 }));
}

#[test]
fn a_response_header_swaps_the_addresses_and_keeps_the_rest() {
    let vectors = corpus::cups();
    let find = |id: &str| vectors.iter().find(|vector| vector.id == id).unwrap();
    for (request, response) in [
        ("c-0200-nfc-nopin", "c-0210-approved"),
        ("c-0420-reversal", "c-0430-reversal-answer"),
        ("c-0820-301", "c-0830-301"),
        ("c-0820-201", "c-0830-201"),
    ] {
        let request = find(request).frame.as_ref().unwrap();
        let response = find(response);
        let Ok(FrameStep::Message { header, .. }) = Framing::Cups.next(&request.bytes, MAX) else {
            panic!("a vector");
        };
        let mut out = [0xAA; MAX];
        let body_at = Framing::Cups.begin_response(header, &mut out).unwrap();
        let end = body_at + response.message.len();
        out[body_at..end].copy_from_slice(&response.message);
        Framing::Cups.finish(&mut out, end);
        assert_eq!(out[..end], response.frame.as_ref().unwrap().bytes, "{}", response.id);
    }
}

#[test]
fn every_part_of_a_cups_header_but_the_addresses_and_the_reject_code_is_kept() {
    let mut header: Vec<u8> = (100..146).collect();
    header[0] = 46;
    let mut out = [0; 64];
    assert_eq!(Framing::Cups.begin_response(&header, &mut out), Some(50));
    let answered = &out[4..50];
    assert_eq!(answered[..6], header[..6]);
    assert_eq!(answered[6..17], header[17..28]);
    assert_eq!(answered[17..28], header[6..17]);
    assert_eq!(answered[28..41], header[28..41]);
    assert_eq!(&answered[41..], b"00000");
}

#[test]
fn a_terminal_response_swaps_the_tpdu_addresses() {
    let header = b"\x60\x00\x03\x12\x34\x60\x31\x00\x31\x01\x00";
    let mut out = [0; 16];
    assert_eq!(Framing::Be2Tpdu.begin_response(header, &mut out), Some(13));
    assert_eq!(&out[2..13], b"\x60\x12\x34\x00\x03\x60\x31\x00\x31\x01\x00");
}

#[test]
fn a_frame_begins_only_with_its_own_header_and_room_for_it() {
    let header = cups_header(b"00010000   ", b"03330000   ");
    assert_eq!(Framing::Cups.begin(&header, &mut [0; 50]), Some(50));
    assert_eq!(Framing::Cups.begin(&header, &mut [0; 49]), None);
    assert_eq!(Framing::Cups.begin(&header[..45], &mut [0; 64]), None);
    assert_eq!(Framing::Cups.begin_response(&[], &mut [0; 64]), None);
    assert_eq!(Framing::Be2.begin(&[], &mut [0; 2]), Some(2));
    assert_eq!(Framing::Be2.begin(&[], &mut [0; 1]), None);
    assert_eq!(Framing::Be2.begin(&[0], &mut [0; 8]), None);
    assert_eq!(Framing::Be2Tpdu.begin(&[0; 10], &mut [0; 64]), None);
}

#[test]
fn finishing_writes_the_length_and_the_cups_total() {
    let whole = frame(Framing::Cups, &[b'x'; 300]);
    assert_eq!(&whole[..4], b"0346");
    assert_eq!(&whole[6..10], b"0346");
    let header = CupsHeader::new(&whole[4..50]).unwrap();
    assert_eq!((header.destination(), header.source()), (&b"00010000   "[..], &b"03330000   "[..]));
    assert_eq!(frame(Framing::Be2, &[0; 300])[..2], [1, 44]);
    assert_eq!(frame(Framing::Be2Tpdu, &[0; 300])[..2], [1, 55]);
}
