//! `tapswitch decode`: the fields of one message as a table or as JSON, card data masked.
//!
//! Not here: what may be shown of a field (`tapswitch_protocol::describe`).

use super::{CommandError, Streams};
use clap::Args;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::io::{self, Read, Write};
use tapswitch_protocol::describe::{self, Row};
use tapswitch_protocol::frame::HeaderProblem;
use tapswitch_protocol::{Dialect, FieldTable, FrameStep, Framing, MessageView, ResponseCode};

/// What `decode` can be told.
#[derive(Clone, Debug, Args)]
pub struct DecodeArgs {
    /// How the message is written
    #[arg(long, value_name = "D", default_value = "cups", value_parser = Dialect::BUILT_IN)]
    pub dialect: String,
    /// The bytes begin with the dialect's frame: length and, where there is one, header
    #[arg(long)]
    pub framed: bool,
    /// Print {"mti": "0200", "fields": {"3": "000000", …}}
    #[arg(long)]
    pub json: bool,
    /// The message as hexadecimal digits, spaces allowed; `-` reads them from standard input
    #[arg(value_name = "HEX|-", required = true)]
    pub hex: Vec<String>,
}

/// Characters of hexadecimal text that are read; the longest frame has 65,537 bytes.
const TEXT_CHARS_MAX: u64 = 1 << 20;

/// Shows a message. One that its dialect does not allow is shown as far as it can be read.
pub(super) fn run(args: &DecodeArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let bytes = read_bytes(args, streams.input)?;
    let dialect = Dialect::built_in(&args.dialect)
        .ok_or_else(|| CommandError::Failed(format!("unknown dialect {}", args.dialect)))?;
    let message = match args.framed {
        true => unframed(framing_of(dialect), &bytes).map_err(CommandError::Failed)?,
        false => &bytes,
    };
    let mut table = FieldTable::default();
    let error = dialect.parse(message, &mut table).err();
    if let Some(view) = table.view(dialect, message) {
        match args.json {
            true => show_json(streams.output, &view)?,
            false => show_table(streams.output, &view)?,
        }
    }
    match error {
        None => Ok(()),
        Some(error) => {
            streams.output.flush()?;
            Err(CommandError::Failed(format!("not in dialect {}: {error}", dialect.name())))
        }
    }
}

/// Fields by number, as `{"mti": …, "fields": {…}}`.
struct Json<'v>(&'v MessageView<'v>);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("mti", &self.0.mti().to_string())?;
        map.serialize_entry("fields", &JsonFields(self.0))?;
        map.end()
    }
}

/// In the order of the message: a map of text keys would put 11 before 2.
struct JsonFields<'v>(&'v MessageView<'v>);

impl Serialize for JsonFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(describe::values(self.0).map(|(field, text)| (field.to_string(), text)))
    }
}

fn show_json(out: &mut dyn Write, view: &MessageView<'_>) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Json(view))?;
    writeln!(out)
}

/// A line a field: number, name, content. The data objects of DE 55 have their tags behind it.
fn show_table(out: &mut dyn Write, view: &MessageView<'_>) -> io::Result<()> {
    writeln!(out, "MTI       {}", view.mti())?;
    let rows: Vec<Row<'_>> = describe::rows(view).collect();
    let name_width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default();
    for Row { field, tag, name, text, .. } in &rows {
        let number = match tag {
            None => format!("{field:>3}"),
            Some(tag) => format!("{field:>3}.{tag:X}"),
        };
        write!(out, "{number:<8}  {name:<name_width$}  {text}")?;
        match (field, ResponseCode::from_wire(text.as_bytes())) {
            (39, Some(code)) => writeln!(out, " ({})", code.meaning())?,
            _ => writeln!(out)?,
        }
    }
    Ok(())
}

/// The bytes that the arguments or standard input give.
fn read_bytes(args: &DecodeArgs, input: &mut dyn Read) -> Result<Vec<u8>, CommandError> {
    let text = match args.hex.as_slice() {
        [dash] if dash == "-" => {
            let mut text = String::new();
            input.take(TEXT_CHARS_MAX + 1).read_to_string(&mut text)?;
            text
        }
        words => words.concat(),
    };
    if text.len() as u64 > TEXT_CHARS_MAX {
        return Err(CommandError::Failed(format!("more than {TEXT_CHARS_MAX} characters")));
    }
    from_hex(&text).map_err(CommandError::Failed)
}

/// Bytes of hexadecimal text. What is wrong is told by its place only: it may be card data.
fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (place, character) in text.chars().enumerate() {
        if character.is_whitespace() {
            continue;
        }
        let Some(digit) = character.to_digit(16) else {
            return Err(format!("character {} is not a hexadecimal digit", place + 1));
        };
        // Below 16.
        let digit = digit as u8;
        high = match high {
            None => Some(digit),
            Some(high) => {
                bytes.push(high << 4 | digit);
                None
            }
        };
    }
    match high {
        Some(_) => Err("an odd number of hexadecimal digits: half a byte is missing".to_owned()),
        None if bytes.is_empty() => {
            Err("no message: there is not one hexadecimal digit".to_owned())
        }
        None => Ok(bytes),
    }
}

/// How each dialect's messages are framed.
fn framing_of(dialect: &Dialect) -> Framing {
    match dialect.name() {
        "cups" => Framing::Cups,
        "unionpay-pos" => Framing::Be2Tpdu,
        _ => Framing::Be2,
    }
}

/// The message inside a frame.
fn unframed(framing: Framing, bytes: &[u8]) -> Result<&[u8], String> {
    let step = framing.next(bytes, usize::MAX).map_err(|error| error.to_string())?;
    let (body, frame_bytes) = match step {
        FrameStep::Message { body, bytes, .. } => (body, bytes),
        FrameStep::Probe { .. } => {
            return Err("an idle probe: there is no message in it".to_owned());
        }
        FrameStep::Unusable { reason, .. } => {
            return Err(match reason {
                HeaderProblem::Malformed => "the frame's header is too short or malformed",
                HeaderProblem::Rejected => "the network sent this message back as undeliverable",
            }
            .to_owned());
        }
        FrameStep::Incomplete { bytes_needed } => {
            let have = bytes.len();
            return Err(format!(
                "the frame has {bytes_needed} bytes or more, only {have} are there"
            ));
        }
    };
    match bytes.len() - frame_bytes {
        0 => Ok(body),
        more => Err(format!("{more} bytes follow the frame of {frame_bytes}")),
    }
}
