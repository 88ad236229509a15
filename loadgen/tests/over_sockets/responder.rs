//! A switch for tests: answers every request as approved, except for what a test makes it do. One
//! blocking thread a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::Builder;
use tapswitch_loadgen::{LoadDialect, LoadPlan};
use tapswitch_protocol::{Addition, FieldTable, FrameStep, Framing, MessageView, respond};

const FRAME_BYTES_MAX: usize = 4_096;

/// A response to make of a request.
pub(crate) struct Answer {
    /// The message, without frame.
    pub(crate) message: Vec<u8>,
    /// How often it is sent.
    pub(crate) times: usize,
}

/// Changes the right answer to the `n`-th request (from 0) of a connection.
pub(crate) type Change = dyn Fn(u64, &MessageView<'_>, &mut Answer) + Send + Sync;

/// Starts a responder that takes this many connections; gives its address.
pub(crate) fn start(
    dialect: LoadDialect,
    connections: u32,
    change: impl Fn(u64, &MessageView<'_>, &mut Answer) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let change: Arc<Change> = Arc::new(change);
    let accept = move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let change = Arc::clone(&change);
            Builder::new().spawn(move || serve(stream, dialect, &*change)).unwrap();
        }
    };
    Builder::new().spawn(accept).unwrap();
    address
}

/// A short plan against a responder, with a window that holds all of it: however slow the machine,
/// everything is sent.
pub(crate) fn plan(target: SocketAddr, dialect: LoadDialect) -> LoadPlan {
    LoadPlan { connections: 2, in_flight: 2_000, cards: 10_000, ..LoadPlan::new(target, dialect) }
}

fn serve(mut stream: TcpStream, dialect: LoadDialect, change: &Change) {
    let framing = dialect.usual_framing();
    let (mut kept, mut buffer) = (Vec::new(), [0; 16_384]);
    let mut number = 0;
    // The end of a connection, or a reset of it, ends its thread.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        let (mut at, mut out) = (0, Vec::new());
        loop {
            match framing.next(&kept[at..], FRAME_BYTES_MAX).unwrap() {
                FrameStep::Message { header, body, bytes } => {
                    let answer = answer(dialect, body, number, change);
                    for _ in 0..answer.times {
                        append(framing, header, &answer.message, &mut out);
                    }
                    number += 1;
                    at += bytes;
                }
                FrameStep::Incomplete { .. } => break,
                step => panic!("a request's frame is whole: {step:?}"),
            }
        }
        kept.drain(..at);
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

fn answer(dialect: LoadDialect, body: &[u8], number: u64, change: &Change) -> Answer {
    let mut table = FieldTable::default();
    let request = dialect.table().parse(body, &mut table).unwrap();
    let mut message = vec![0; FRAME_BYTES_MAX];
    let additions =
        [Addition { field: 38, value: b"A12345" }, Addition { field: 39, value: b"00" }];
    let echo = dialect.table().echo;
    let mti = request.mti().response().unwrap();
    let length = respond(&request, mti, echo, &additions, &mut message).unwrap();
    message.truncate(length);
    let mut answer = Answer { message, times: 1 };
    change(number, &request, &mut answer);
    answer
}

fn append(framing: Framing, header: &[u8], message: &[u8], out: &mut Vec<u8>) {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    let at = framing.begin_response(header, &mut frame).unwrap();
    frame.truncate(at);
    frame.extend_from_slice(message);
    let bytes = frame.len();
    framing.finish(&mut frame, bytes);
    out.extend_from_slice(&frame);
}
