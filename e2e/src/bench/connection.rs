//! One HTTP/1.1 connection over a plain socket: the generator must cost little beside what it measures.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than any service keeps a request waiting.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A connection that is opened again when the other side closed it.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// The head of an answer.
struct Head {
    length: usize,
    status: u16,
    body: Length,
    closes: bool,
}

enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: Vec::new() }
    }

    /// Sends the bytes of a request and waits for its answer.
    pub(super) fn exchange(&mut self, request: &[u8]) -> std::io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => open(self.address)?,
        };
        stream.write_all(request)?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            read_more(&mut stream, &mut self.buffer)?;
        };
        let body = loop {
            if let Some(body) = complete_body(&self.buffer[head.length..], &head.body)? {
                break body;
            }
            read_more(&mut stream, &mut self.buffer)?;
        };
        if !head.closes {
            self.stream = Some(stream);
        }
        Ok(Answer { status: head.status, body })
    }
}

fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        count => {
            buffer.extend_from_slice(&piece[..count]);
            Ok(())
        }
    }
}

/// The head, once it is complete.
fn parse_head(buffer: &[u8]) -> std::io::Result<Option<Head>> {
    let Some(end) = find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&buffer[..end]).map_err(|_| ErrorKind::InvalidData)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let mut head = Head {
        length: end + 4,
        status: status.ok_or(ErrorKind::InvalidData)?,
        body: Length::Known(0),
        closes: false,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.body = Length::Known(value.parse().map_err(|_| ErrorKind::InvalidData)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.body = Length::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes = value.eq_ignore_ascii_case("close");
        }
    }
    Ok(Some(head))
}

/// The body, once it is complete.
fn complete_body(bytes: &[u8], length: &Length) -> std::io::Result<Option<Vec<u8>>> {
    match *length {
        Length::Known(length) => Ok(bytes.get(..length).map(<[u8]>::to_vec)),
        Length::Chunked => dechunk(bytes),
    }
}

fn dechunk(mut bytes: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(bytes, b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[..end]).map_err(|_| ErrorKind::InvalidData)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| ErrorKind::InvalidData)?;
        let Some(chunk) = bytes.get(end + 2..end + 2 + size + 2) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(&chunk[..size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_when_its_last_byte_is_there() {
        let text = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy";
        assert!(parse_head(&text[..40]).unwrap().is_none());
        let head = parse_head(text).unwrap().unwrap();
        assert_eq!((head.status, head.closes), (503, true));
        assert_eq!(complete_body(&text[head.length..text.len() - 1], &head.body).unwrap(), None);
        assert_eq!(complete_body(&text[head.length..], &head.body).unwrap().unwrap(), b"busy");
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(dechunk(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap().unwrap(), b"abcde");
        assert_eq!(dechunk(b"3\r\nabc\r\n2\r\nd").unwrap(), None);
    }
}
