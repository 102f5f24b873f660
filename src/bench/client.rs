//! A simple blocking client for everything that is not measured: authentication, `INFO`, reading values back.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::error::BenchError;
use super::plan::{Plan, Secret};
use super::reply::Malformed;
use super::request;

/// Timeout for connecting to the server.
const CONNECT: Duration = Duration::from_secs(5);
/// Maximum length of a bulk string, and of an aggregate, that is accepted.
const MOST: usize = 1 << 30;

/// Address of the server, and the password for it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host and port as given by the user.
    pub name: String,
    /// The resolved address.
    pub address: SocketAddr,
    user: Option<String>,
    password: Option<Secret>,
}

impl Target {
    /// Resolves the address of the plan's server.
    ///
    /// # Errors
    /// If the host name cannot be resolved.
    pub fn find(plan: &Plan) -> Result<Self, BenchError> {
        Self::resolve(&plan.host, plan.port, plan.password.clone())
    }

    /// Resolves the address of a server.
    ///
    /// # Errors
    /// If the host name cannot be resolved.
    pub fn resolve(host: &str, port: u16, password: Option<Secret>) -> Result<Self, BenchError> {
        let name = format!("{host}:{port}");
        let unreachable = |why| BenchError::Unreachable { address: name.clone(), why };
        let mut found = (host, port).to_socket_addrs().map_err(unreachable)?;
        let address = found.next().ok_or_else(|| unreachable(io::ErrorKind::NotFound.into()))?;
        Ok(Self { name, address, user: None, password })
    }

    /// The same server, where the password is that of a user with a name.
    pub fn as_user(self, user: Option<String>) -> Self {
        Self { user, ..self }
    }

    /// Connects and, if there is a password, authenticates.
    ///
    /// # Errors
    /// If the server cannot be reached, the password is wrong or missing, or the reply is not RESP.
    pub fn connect(&self) -> Result<Client, BenchError> {
        self.connect_within(CONNECT, None)
    }

    /// Like [`Self::connect`], with time limits for connecting and (`patience`) for each reply.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub fn connect_within(&self, limit: Duration, patience: Option<Duration>) -> Result<Client, BenchError> {
        let open = || {
            let socket = TcpStream::connect_timeout(&self.address, limit)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(patience)?;
            spare_congestion_control(&socket);
            Ok(socket)
        };
        let socket = open().map_err(|why| self.unreachable(why))?;
        let mut client = Client { reader: BufReader::new(socket), target: self.clone() };
        let words = [Some("AUTH"), self.user.as_deref(), self.password.as_ref().map(|password| &password.0[..])];
        let words: Vec<_> = words.iter().flatten().map(|word| word.as_bytes()).collect();
        if self.password.is_some()
            && let Value::Error(why) = client.call(&words)?
        {
            return Err(BenchError::PasswordRefused { address: self.name.clone(), why });
        }
        Ok(client)
    }

    fn unreachable(&self, why: io::Error) -> BenchError {
        BenchError::Unreachable { address: self.name.clone(), why }
    }
}

/// Selects the cheapest congestion control, since connections within one machine have no congestion.
fn spare_congestion_control(socket: &TcpStream) {
    let ends = (socket.local_addr(), socket.peer_addr());
    if matches!(ends, (Ok(own), Ok(peer)) if own.ip() == peer.ip()) {
        // Every kernel has it; if not, the default does as well.
        let _ = socket2::SockRef::from(socket).set_tcp_congestion(b"reno");
    }
}

/// A reply, as far as callers need it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Bytes of a simple string, bulk string or number.
    Text(Vec<u8>),
    /// Text of an error.
    Error(String),
    /// Null.
    Null,
    /// Elements of any aggregate.
    Many(Vec<Self>),
}

/// A connection on which each request waits for its reply.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
    target: Target,
}

impl Client {
    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// If the connection is lost, or the reply is malformed.
    pub fn call(&mut self, arguments: &[&[u8]]) -> Result<Value, BenchError> {
        let mut out = Vec::new();
        request::request(&mut out, arguments);
        self.send(&out)?;
        self.receive()
    }

    /// Sends requests.
    ///
    /// # Errors
    /// If the connection is lost.
    pub fn send(&mut self, requests: &[u8]) -> Result<(), BenchError> {
        self.reader.get_mut().write_all(requests).map_err(|why| self.lost(&why))
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// If the connection is lost, or the reply is malformed.
    pub fn receive(&mut self) -> Result<Value, BenchError> {
        let mut line = Vec::new();
        (&mut self.reader).take(64 * 1024).read_until(b'\n', &mut line).map_err(|why| self.lost(&why))?;
        if line.is_empty() {
            return Err(self.lost(&io::ErrorKind::UnexpectedEof.into()));
        }
        let text = line.strip_suffix(b"\r\n").ok_or_else(|| self.malformed(&line))?;
        let (kind, rest) = text.split_first().ok_or_else(|| self.malformed(&line))?;
        Ok(match kind {
            b'+' | b':' | b',' | b'#' | b'(' => Value::Text(rest.to_vec()),
            b'-' => Value::Error(String::from_utf8_lossy(rest).into_owned()),
            b'_' => Value::Null,
            _ if rest == b"-1" => Value::Null,
            b'$' | b'=' | b'!' => {
                let mut bytes = vec![0; self.length(rest, &line)? + 2];
                self.reader.read_exact(&mut bytes).map_err(|why| self.lost(&why))?;
                bytes.truncate(bytes.len() - 2);
                if *kind == b'!' {
                    Value::Error(String::from_utf8_lossy(&bytes).into_owned())
                } else {
                    Value::Text(bytes)
                }
            }
            b'*' | b'~' | b'>' | b'%' => {
                let elements = self.length(rest, &line)? * if *kind == b'%' { 2 } else { 1 };
                Value::Many((0..elements).map(|_| self.receive()).collect::<Result<_, _>>()?)
            }
            _ => return Err(self.malformed(&line)),
        })
    }

    /// Gets the server's `INFO`; empty if the server refuses the command.
    ///
    /// # Errors
    /// If the connection is lost, the password is missing, or the reply is malformed.
    pub fn info(&mut self) -> Result<BTreeMap<String, String>, BenchError> {
        match self.call(&[b"INFO"])? {
            Value::Text(text) => Ok(parse_info(&String::from_utf8_lossy(&text))),
            Value::Error(why) if why.starts_with("NOAUTH") => Err(BenchError::PasswordNeeded(self.target.name.clone())),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// Gives up the socket for use elsewhere. All replies must have been received.
    pub fn into_socket(self) -> TcpStream {
        self.reader.into_inner()
    }

    /// Whether the server is on this machine: both ends have the same address.
    pub fn is_local(&self) -> bool {
        let own = self.reader.get_ref().local_addr().map(|address| address.ip());
        own.is_ok_and(|own| own == self.target.address.ip())
    }

    fn length(&self, digits: &[u8], line: &[u8]) -> Result<usize, BenchError> {
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        number.filter(|length| *length <= MOST).ok_or_else(|| self.malformed(line))
    }

    fn malformed(&self, line: &[u8]) -> BenchError {
        let start = &line[..line.len().min(40)];
        let why = Malformed(String::from_utf8_lossy(start).into_owned());
        BenchError::Protocol { address: self.target.name.clone(), why }
    }

    fn lost(&self, why: &io::Error) -> BenchError {
        BenchError::Lost { address: self.target.name.clone(), why: why.to_string() }
    }
}

fn parse_info(text: &str) -> BTreeMap<String, String> {
    let fields = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.trim_end().split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_lines_of_names_and_values() {
        let info = parse_info("# Server\r\nredis_version:7.0.15\r\nexecutable:/a:b\r\n\r\n# Clients\r\n");
        assert_eq!(info.len(), 2);
        assert_eq!((info["redis_version"].as_str(), info["executable"].as_str()), ("7.0.15", "/a:b"));
    }
}
