//! Any bytes as a stream of each framing: no panic, every step moves on or ends, and splitting the
//! stream changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tapswitch_protocol::{FrameStep, Framing};

const FRAME_BYTES_MAX: usize = 2048;

fuzz_target!(|bytes: &[u8]| {
    for framing in [Framing::Cups, Framing::Be2, Framing::Be2Tpdu] {
        drain(framing, bytes);
    }
});

fn drain(framing: Framing, stream: &[u8]) {
    let mut rest = stream;
    let mut out = [0; FRAME_BYTES_MAX];
    loop {
        let step = framing.next(rest, FRAME_BYTES_MAX);
        let used = match step {
            Err(_) => return,
            Ok(FrameStep::Incomplete { bytes_needed }) => {
                assert!(bytes_needed > rest.len() && bytes_needed <= FRAME_BYTES_MAX);
                return;
            }
            Ok(FrameStep::Probe { bytes } | FrameStep::Unusable { bytes, .. }) => bytes,
            Ok(FrameStep::Message { header, body, bytes }) => {
                assert_eq!(framing.prefix_bytes() + header.len() + body.len(), bytes);
                reframe(framing, header, body, &mut out);
                bytes
            }
        };
        assert!(used > 0);
        // The step is the same whatever follows it, and needs all of its bytes.
        assert_eq!(framing.next(&rest[..used], FRAME_BYTES_MAX), step);
        assert!(matches!(
            framing.next(&rest[..used - 1], FRAME_BYTES_MAX),
            Ok(FrameStep::Incomplete { .. })
        ));
        rest = &rest[used..];
    }
}

/// A response frame around the same body reads back.
fn reframe(framing: Framing, header: &[u8], body: &[u8], out: &mut [u8]) {
    let at = framing.begin_response(header, out).expect("the header has its length");
    let end = at + body.len();
    out[at..end].copy_from_slice(body);
    framing.finish(out, end);
    let Ok(FrameStep::Message { body: again, bytes, .. }) =
        framing.next(&out[..end], FRAME_BYTES_MAX)
    else {
        panic!("a response frame reads");
    };
    assert_eq!((again, bytes), (body, end));
}
