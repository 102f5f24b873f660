//! A connection that shows every byte: RESP2 and RESP3, requests sent as they are given.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long a reply may take before the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reply.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `+`
    Simple(String),
    /// `-` and `!`
    Error(String),
    /// `:`
    Int(i64),
    /// `$` and `=`
    Bulk(Vec<u8>),
    /// `_`, `$-1` and `*-1`
    Null,
    /// `#`
    Bool(bool),
    /// `,` and `(`: as it was written
    Number(String),
    /// `*`
    Array(Vec<Self>),
    /// `~`
    Set(Vec<Self>),
    /// `>`
    Push(Vec<Self>),
    /// `%`
    Map(Vec<(Self, Self)>),
}

impl Value {
    /// A simple or bulk string as text, numbers as they are printed; panics on anything else.
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Number(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Int(number) => number.to_string(),
            other => panic!("a string was expected, not {other:?}"),
        }
    }

    /// The integer; panics on anything else.
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            other => panic!("an integer was expected, not {other:?}"),
        }
    }

    /// The elements of an array, a set or a push; panics on anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items,
            other => panic!("an array was expected, not {other:?}"),
        }
    }

    /// Key and value pairs, of a map or of a flat array; panics on anything else.
    pub fn pairs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let bytes = |value: &Self| match value {
            Self::Bulk(bytes) => bytes.clone(),
            other => other.text().into_bytes(),
        };
        match self {
            Self::Map(pairs) => pairs.iter().map(|(key, value)| (bytes(key), bytes(value))).collect(),
            other => other.items().chunks(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect(),
        }
    }

    /// The bytes of a bulk string, `None` for null; panics on anything else.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Null => None,
            other => panic!("a bulk string was expected, not {other:?}"),
        }
    }

    /// The text of an error; panics on anything else.
    pub fn error(&self) -> &str {
        match self {
            Self::Error(text) => text,
            other => panic!("an error was expected, not {other:?}"),
        }
    }

    /// True for an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Int(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) if bytes.len() > 200 => write!(f, "${} bytes", bytes.len()),
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Null => write!(f, "null"),
            Self::Bool(value) => write!(f, "#{value}"),
            Self::Number(text) => write!(f, ",{text}"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Set(items) => f.debug_set().entries(items).finish(),
            Self::Push(items) => write!(f, ">").and_then(|()| f.debug_list().entries(items).finish()),
            Self::Map(pairs) => f.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish(),
        }
    }
}

/// Appends a request in the form that clients send.
pub fn encode<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    write!(out, "*{}\r\n", args.len()).expect("a vector takes everything");
    for arg in args {
        let arg = arg.as_ref();
        write!(out, "${}\r\n", arg.len()).expect("a vector takes everything");
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// A connection.
pub struct Conn {
    reader: BufReader<TcpStream>,
}

impl Conn {
    /// Connects to a port of this machine.
    pub fn open(port: u16) -> io::Result<Self> {
        Self::of(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)
    }

    fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, stream) })
    }

    /// Connects to a port of this machine from an address of it that is not the usual one, such as 127.0.0.2.
    pub fn open_from(address: [u8; 4], port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        Self::of(socket.into())
    }

    /// A connection that takes in very little that is not read from it.
    pub fn open_narrow(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(4096)?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        Self::of(socket.into())
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent; replies can still be read.
    pub fn finish(&self) -> io::Result<()> {
        self.stream().shutdown(Shutdown::Write)
    }

    /// One command whose arguments hold no blanks; panics when the connection fails.
    pub fn call(&mut self, line: &str) -> Value {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.command(&args)
    }

    /// One command; panics when the connection fails.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.try_command(args).unwrap_or_else(|error| {
            panic!("{:?} got no reply: {error}", String::from_utf8_lossy(args[0].as_ref()));
        })
    }

    /// One command.
    pub fn try_command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        let mut request = Vec::new();
        encode(&mut request, args);
        self.send(&request)?;
        self.read()
    }

    /// Many commands at once, as many replies; no more than fits the server's output limit.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Value> {
        let mut requests = Vec::new();
        commands.iter().for_each(|args| encode(&mut requests, args));
        self.send(&requests).expect("send a pipeline");
        commands.iter().map(|_| self.read().expect("read a reply of the pipeline")).collect()
    }

    /// Whether the server closes the connection within the time, whatever it still says.
    pub fn is_closed_within(&mut self, time: Duration) -> bool {
        self.stream().set_read_timeout(Some(time)).expect("set a time limit");
        let mut rest = Vec::new();
        let ended = match self.reader.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        self.stream().set_read_timeout(Some(PATIENCE)).expect("set a time limit");
        ended
    }

    /// Everything up to the server's closing of the connection.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The next reply.
    pub fn read(&mut self) -> io::Result<Value> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| malformed(&line))?;
        Ok(match kind {
            "+" => Value::Simple(rest.to_owned()),
            "-" => Value::Error(rest.to_owned()),
            ":" => Value::Int(rest.parse().map_err(|_| malformed(&line))?),
            "," | "(" => Value::Number(rest.to_owned()),
            "#" => Value::Bool(rest == "t"),
            "_" => Value::Null,
            _ => match (kind, rest.parse::<i64>().map_err(|_| malformed(&line))?) {
                ("$" | "*", -1) => Value::Null,
                ("$", length) => Value::Bulk(self.payload(length)?),
                ("=", length) => Value::Bulk(self.payload(length)?.split_off(4)),
                ("!", length) => Value::Error(String::from_utf8_lossy(&self.payload(length)?).into_owned()),
                ("*", count) => Value::Array(self.elements(count)?),
                ("~", count) => Value::Set(self.elements(count)?),
                (">", count) => Value::Push(self.elements(count)?),
                ("%", count) => {
                    let flat = self.elements(count * 2)?;
                    Value::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
                }
                _ => return Err(malformed(&line)),
            },
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.strip_suffix(b"\r\n").ok_or_else(|| malformed(&String::from_utf8_lossy(&line)))?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn payload(&mut self, length: i64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|_| malformed(&length.to_string()))?;
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        if bytes.split_off(length) != b"\r\n" {
            return Err(malformed("no line end after a bulk string"));
        }
        Ok(bytes)
    }

    fn elements(&mut self, count: i64) -> io::Result<Vec<Value>> {
        (0..count).map(|_| self.read()).collect()
    }
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed reply: {line:?}"))
}
