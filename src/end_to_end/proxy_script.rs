//! What a proxy does with each frame of one way: scripts, each the same in every run.

use crate::message::{Message, Speech};
use std::time::Duration;

/// What is done, one thing after the other.
#[derive(Debug)]
pub(crate) enum Step {
    /// Bytes go on, in a write of their own.
    Write(Vec<u8>),
    /// Nothing happens for a while; what comes behind waits too.
    Pause(Duration),
    /// Nothing more is said this way; the other way lives.
    HalfClose,
    /// Both ways end.
    Cut,
}

/// Takes a frame, and tells what is done.
pub(crate) type Script = Box<dyn FnMut(Vec<u8>) -> Vec<Step> + Send>;

/// Every byte by itself.
pub(crate) fn drip() -> Script {
    Box::new(|frame| {
        let byte = |byte| [Step::Write(vec![byte]), Step::Pause(Duration::from_micros(20))];
        frame.into_iter().flat_map(byte).collect()
    })
}

/// So many frames in one write; then all others by themselves.
pub(crate) fn coalesce(count: usize) -> Script {
    let (mut held, mut seen) = (Vec::new(), 0);
    Box::new(move |frame| {
        held.extend(frame);
        seen += 1;
        let is_full = seen >= count;
        if is_full { vec![Step::Write(std::mem::take(&mut held))] } else { Vec::new() }
    })
}

/// So many frames are kept back, and go in the reverse order; then all others as they come.
pub(crate) fn reorder(count: usize) -> Script {
    let (mut held, mut seen) = (Vec::new(), 0);
    Box::new(move |frame| {
        held.push(frame);
        seen += 1;
        if seen < count {
            return Vec::new();
        }
        held.drain(..).rev().map(Step::Write).collect()
    })
}

/// Each so much later than it came, and than the one before it.
pub(crate) fn delay(time: Duration) -> Script {
    Box::new(move |frame| vec![Step::Pause(time), Step::Write(frame)])
}

/// After so many bytes, in the middle of a frame if it comes so, the connection is cut; and never
/// again.
pub(crate) fn cut_after(bytes: usize) -> Script {
    let mut left = Some(bytes);
    Box::new(move |mut frame| match left {
        Some(bytes) if bytes < frame.len() => {
            left = None;
            frame.truncate(bytes);
            vec![Step::Write(frame), Step::Cut]
        }
        Some(bytes) => {
            left = Some(bytes - frame.len());
            vec![Step::Write(frame)]
        }
        None => vec![Step::Write(frame)],
    })
}

/// The first frame is the last; later connections are not touched.
pub(crate) fn half_close() -> Script {
    let mut done = false;
    Box::new(move |frame| {
        let is_first = !std::mem::replace(&mut done, true);
        let last = is_first.then_some(Step::HalfClose);
        [Step::Write(frame)].into_iter().chain(last).collect()
    })
}

/// Each goes twice.
pub(crate) fn duplicate() -> Script {
    Box::new(|frame| vec![Step::Write(frame.clone()), Step::Write(frame)])
}

/// The next frame of this MTI is another; nothing but it is touched.
pub(crate) fn replace_next(
    speech: Speech,
    mti: &'static str,
    change: impl Fn(Message) -> Option<Vec<u8>> + Send + 'static,
) -> Script {
    replace(speech, mti, 1, change)
}

/// So many frames of this MTI are others, or none; nothing but them is touched.
pub(crate) fn replace(
    speech: Speech,
    mti: &'static str,
    count: usize,
    change: impl Fn(Message) -> Option<Vec<u8>> + Send + 'static,
) -> Script {
    let mut left = count;
    Box::new(move |frame| {
        let message = Message::from_frame(speech, &frame);
        if left == 0 || message.mti().to_string() != mti {
            return vec![Step::Write(frame)];
        }
        left -= 1;
        change(message).map(Step::Write).into_iter().collect()
    })
}
