//! Server-sent events, as servers send them: any line end, comments, a byte order mark, no space
//! after the colon, no blank line at the end.

/// What a stream says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The data of an event.
    Data(String),
    /// llama.cpp's line for what went wrong in mid-stream.
    Error(String),
    /// `[DONE]`: nothing follows.
    Done,
}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// A line that has not ended yet.
    line: Vec<u8>,
    data: String,
    begun: bool,
    after_cr: bool,
}

impl Events {
    /// Adds bytes; returns the events that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            match memchr::memchr2(b'\n', b'\r', bytes) {
                Some(end) => {
                    self.line.extend_from_slice(&bytes[..end]);
                    self.after_cr = bytes[end] == b'\r';
                    self.end_line(&mut events);
                    bytes = &bytes[end + 1..];
                }
                None => {
                    self.line.extend_from_slice(bytes);
                    break;
                }
            }
        }
        events
    }

    /// There is no more; returns what the last line brings.
    pub(super) fn finish(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.end_line(&mut events);
        self.dispatch(&mut events);
        events
    }

    fn end_line(&mut self, events: &mut Vec<Event>) {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let first = !std::mem::replace(&mut self.begun, true);
        let line = if first { line.trim_start_matches('\u{feff}') } else { &*line };
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => self.dispatch(events),
            "data" if value.trim() == "[DONE]" => {
                self.dispatch(events);
                events.push(Event::Done);
            }
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "error" => events.push(Event::Error(value.to_owned())),
            // Comments, names, numbers: nothing here needs them.
            _ => {}
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let data = std::mem::take(&mut self.data);
        if !data.trim().is_empty() {
            events.push(Event::Data(data));
        }
    }
}

/// Whether a body is a stream of events, whatever was asked for.
pub(super) fn are_events(body: &str) -> bool {
    let body = body.trim_start_matches('\u{feff}').trim_start();
    ["data:", "event:", ":", "id:", "retry:", "error:"].iter().any(|start| body.starts_with(start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Event> {
        let mut events = Events::default();
        let mut all: Vec<_> = pieces.iter().flat_map(|piece| events.push(piece)).collect();
        all.extend(events.finish());
        all
    }

    fn data(text: &str) -> Event {
        Event::Data(text.to_owned())
    }

    #[test]
    fn events_are_read_in_every_form() {
        for text in [
            "data: a\n\ndata: b\n\ndata: [DONE]\n\n",
            "data:a\r\n\r\ndata:b\r\n\r\ndata:[DONE]\r\n\r\n",
            "data: a\r\rdata: b\r\rdata: [DONE]",
            "\u{feff}: hello\n\ndata: a\n\nevent: x\nid: 7\ndata: b\n\ndata: [DONE]\n",
            "data: a\n\n\n\n:\n\ndata: b\ndata: [DONE]",
        ] {
            let expected = [data("a"), data("b"), Event::Done];
            assert_eq!(read(&[text.as_bytes()]), expected, "{text:?}");
            let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes), expected, "{text:?} byte by byte");
        }
        assert_eq!(read(&[b"data: a\ndata: b\n\n"]), [data("a\nb")]);
        assert_eq!(read(&[b"data: a"]), [data("a")]);
        assert_eq!(read(&[b"error: {}\n\n"]), [Event::Error("{}".into())]);
        assert!(are_events(" \n: x") && are_events("data:{}") && !are_events("{\"data:\": 1}"));
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_how_bytes_arrive(
            text in "(data: ?|error:|:|id: )?[ab\u{feff}é]{0,3}(\n|\r|\r\n){0,3}\
                     (data:)?[ab]{0,3}(\n|\r|\r\n){0,3}",
            size in 1usize..5,
        ) {
            let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(read(&pieces), read(&[text.as_bytes()]));
        }
    }
}
