//! Messages as tests build, change and read them.

use tapswitch_protocol::header::cups_header;
use tapswitch_protocol::{
    Dialect, FieldTable, FrameStep, Framing, MessageView, MessageWriter, Mti,
};

/// A dialect in the framing that the shipped configuration gives it.
#[derive(Clone, Copy)]
pub(crate) struct Speech {
    pub(crate) dialect: &'static Dialect,
    pub(crate) framing: Framing,
}

impl Speech {
    pub(crate) fn cups() -> Self {
        Self { dialect: Dialect::cups(), framing: Framing::Cups }
    }

    pub(crate) fn iso87() -> Self {
        Self { dialect: Dialect::iso87_ascii(), framing: Framing::Be2 }
    }

    pub(crate) fn name(self) -> &'static str {
        self.dialect.name()
    }

    /// The header of what an acquirer sends.
    fn header(self) -> Vec<u8> {
        match self.framing {
            Framing::Cups => cups_header(b"00010000   ", b"03330000   ").to_vec(),
            Framing::Be2 | Framing::Be2Tpdu => vec![0; self.framing.header_bytes()],
        }
    }
}

/// A message with its header.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) speech: Speech,
    pub(crate) header: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// A message that came without a header.
    pub(crate) fn from_body(speech: Speech, body: &[u8]) -> Self {
        Self { speech, header: speech.header(), body: body.to_vec() }
    }

    pub(crate) fn from_frame(speech: Speech, frame: &[u8]) -> Self {
        let Ok(FrameStep::Message { header, body, bytes }) =
            speech.framing.next(frame, frame.len())
        else {
            panic!("a whole frame");
        };
        assert_eq!(bytes, frame.len());
        Self { speech, header: header.to_vec(), body: body.to_vec() }
    }

    /// From its fields, in ascending order.
    pub(crate) fn written(speech: Speech, mti: Mti, fields: &[(u8, &str)]) -> Self {
        let mut out = [0; 2_048];
        let mut writer = MessageWriter::new(speech.dialect, mti, &mut out).unwrap();
        for (field, value) in fields {
            writer.put(*field, value.as_bytes()).unwrap();
        }
        let bytes = writer.finish().unwrap();
        Self::from_body(speech, &out[..bytes])
    }

    /// An echo test.
    pub(crate) fn echo_test(speech: Speech, number: u32) -> Self {
        let stan = format!("{number:06}");
        let fields = [(7, "0704093015"), (11, stan.as_str()), (70, "301")];
        Self::written(speech, Mti::NETWORK_REQUEST, &fields)
    }

    /// A contact purchase of 1.00 at a shop, with the card of this number.
    pub(crate) fn purchase(speech: Speech, card: u32, number: u32) -> Self {
        let pan = format!("6226019{card:09}");
        let (stan, rrn) = (format!("{number:06}"), format!("0930{number:08}"));
        let fields = [
            (2, pan.as_str()),
            (3, "000000"),
            (4, "000000000100"),
            (7, "0704093015"),
            (11, &stan),
            (12, "093015"),
            (13, "0704"),
            (18, "5411"),
            (22, "051"),
            (25, "00"),
            (32, "03330000"),
            (33, "03330000"),
            (37, &rrn),
            (41, "01080209"),
            (42, "333290054110001"),
            (49, "156"),
        ];
        Self::written(speech, Mti::FINANCIAL_REQUEST, &fields)
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        let framing = self.speech.framing;
        let bytes = framing.prefix_bytes() + self.header.len() + self.body.len();
        let mut frame = vec![0; bytes];
        let body_at = framing.begin(&self.header, &mut frame).unwrap();
        frame[body_at..].copy_from_slice(&self.body);
        framing.finish(&mut frame, bytes);
        frame
    }

    fn read<T>(&self, read: impl FnOnce(&MessageView<'_>) -> T) -> T {
        let mut table = FieldTable::default();
        read(&self.speech.dialect.parse(&self.body, &mut table).unwrap())
    }

    pub(crate) fn mti(&self) -> Mti {
        self.read(|view| view.mti())
    }

    pub(crate) fn has(&self, field: u8) -> bool {
        self.read(|view| view.has(field))
    }

    /// A field's content; `None` when it is not there.
    pub(crate) fn field(&self, field: u8) -> Option<Vec<u8>> {
        self.read(|view| view.raw(field).map(<[u8]>::to_vec))
    }

    /// A field's content as text; empty when it is not there.
    pub(crate) fn text(&self, field: u8) -> String {
        String::from_utf8(self.field(field).unwrap_or_default()).unwrap()
    }

    /// MTI and DE 39.
    pub(crate) fn outcome(&self) -> (String, String) {
        (self.mti().to_string(), self.text(39))
    }

    /// DE 11 as a number.
    pub(crate) fn number(&self) -> u32 {
        self.text(11).parse().unwrap()
    }

    /// The reversal of this request, under a number of its own: DE 90 names it.
    pub(crate) fn reversal(&self, mti: Mti, number: u32) -> Self {
        let stan = format!("{number:06}");
        let original = format!(
            "{}{}{}{:0>11}{:0>11}",
            self.mti(),
            self.text(11),
            self.text(7),
            self.text(32),
            self.text(33)
        );
        let kept = [2, 3, 4, 7, 12, 13, 18, 22, 25, 32, 33, 37, 41, 42, 49];
        let mut fields: Vec<(u8, String)> =
            kept.into_iter().map(|field| (field, self.text(field))).collect();
        fields.extend([(11, stan), (90, original)]);
        fields.sort_unstable();
        let fields: Vec<(u8, &str)> =
            fields.iter().map(|(field, text)| (*field, &**text)).collect();
        Self::written(self.speech, mti, &fields)
    }

    /// The same without a field.
    pub(crate) fn without(&self, gone: u8) -> Self {
        self.changed(gone, None)
    }

    /// The same with one field more.
    pub(crate) fn and(&self, new: u8, value: &str) -> Self {
        self.changed(new, Some(value))
    }

    /// The same with this content of a field, or without it.
    fn changed(&self, changed: u8, value: Option<&str>) -> Self {
        let mut kept: Vec<(u8, String)> = (2..=128)
            .filter(|&field| self.has(field) && field != changed)
            .map(|field| (field, self.text(field)))
            .collect();
        kept.extend(value.map(|value| (changed, value.to_owned())));
        kept.sort_unstable();
        let fields: Vec<(u8, &str)> = kept.iter().map(|(field, text)| (*field, &**text)).collect();
        let body = Self::written(self.speech, self.mti(), &fields).body;
        Self { speech: self.speech, header: self.header.clone(), body }
    }

    /// The same of another type, as a repeat is.
    pub(crate) fn of_type(mut self, mti: &str) -> Self {
        self.body[..4].copy_from_slice(mti.as_bytes());
        self
    }

    /// The same with other contents, of the same length, of a field that it has.
    pub(crate) fn with(mut self, field: u8, value: &str) -> Self {
        let range = self.read(|view| view.range(field)).expect("the field is there");
        self.body[range].copy_from_slice(value.as_bytes());
        self
    }
}
