//! Where the data of `send` comes from: the argument, a file, or standard input.

use std::io::{BufRead, BufReader, Read};

use crate::exit::{Code, Failure};

/// Where the data comes from.
pub(super) enum Input {
    /// The argument itself.
    Text(Vec<u8>),
    /// A file, or standard input.
    Reader(Box<dyn BufRead + Send>),
}

impl Input {
    /// What an argument names; standard input without one.
    pub(super) fn of(data: Option<&str>) -> Result<Self, Failure> {
        match data {
            None | Some("-") => Ok(Self::Reader(Box::new(BufReader::new(std::io::stdin())))),
            Some(text) => match text.strip_prefix('@') {
                Some(text) if text.starts_with('@') => Ok(Self::Text(text.into())),
                Some(path) => {
                    let file = std::fs::File::open(path);
                    let file = file.map_err(Failure::of(Code::Io, path))?;
                    Ok(Self::Reader(Box::new(BufReader::new(file))))
                }
                None => Ok(Self::Text(text.into())),
            },
        }
    }

    /// All of it.
    pub(super) fn whole(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Reader(mut reader) => {
                let mut data = Vec::new();
                let read = reader.read_to_end(&mut data);
                read.map_err(Failure::of(Code::Io, "reading the data failed"))?;
                Ok(data)
            }
        }
    }

    /// The next line without its end; nothing after the last.
    pub(super) fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Self::Text(text) = self {
            let text = std::mem::take(text);
            *self = Self::Reader(Box::new(std::io::Cursor::new(text)));
        }
        let Self::Reader(reader) = self else { return Ok(None) };
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line);
        read.map_err(Failure::of(Code::Io, "reading the data failed"))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        Ok(Some(line))
    }
}
