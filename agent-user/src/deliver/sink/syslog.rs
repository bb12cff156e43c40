//! Syslog receivers: RFC 5424 messages by UDP, or with octet counting (RFC 6587) over TCP and over TLS (RFC 5425).
//!
//! Syslog has no acknowledgement: what the kernel took when the connection broke may be lost. After each batch the connection is
//! looked at, so that a receiver that closed it is noticed with the batch that may have met it, and that batch is sent again.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Fate, Parcel, Sink, Tls, Transport, Trouble, all_delivered};
use crate::deliver::codec::{Codec, syslog};

const CONNECT: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(30);
/// How long a receiver may take to read the rest once we said that nothing follows.
const FAREWELL: Duration = Duration::from_secs(5);

/// Longest UDP message: what fits one datagram of IPv4. A longer one cannot be sent at all.
const DATAGRAM: usize = 65_000;

pub(super) struct Syslog {
    address: String,
    host_name: String,
    codec: Codec,
    tls: Option<Arc<ClientConfig>>,
    transport: Transport,
    open: Option<Open>,
}

enum Open {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Syslog {
    pub(super) fn new(transport: Transport, address: &str, tls: &Tls, codec: Codec, host: &str) -> io::Result<Syslog> {
        let usual = match transport {
            Transport::Udp | Transport::Tcp => 514,
            Transport::Tls => 6514,
        };
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) && !address.ends_with(']');
        let address = if has_port { address.to_owned() } else { format!("{address}:{usual}") };
        let tls = if transport == Transport::Tls { Some(tls.client(&[])?) } else { None };
        Ok(Syslog { address, host_name: host.to_owned(), codec, tls, transport, open: None })
    }

    fn connect(&self) -> io::Result<Open> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for place in self.address.to_socket_addrs()? {
            let opened = match self.transport {
                Transport::Udp => {
                    let any = if place.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    UdpSocket::bind(any).and_then(|socket| socket.connect(place).map(|()| Open::Udp(socket)))
                }
                Transport::Tcp => tcp(&place).map(Open::Tcp),
                Transport::Tls => tcp(&place).and_then(|stream| self.shake_hands(stream)),
            };
            match opened {
                Ok(open) => return Ok(open),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn shake_hands(&self, stream: TcpStream) -> io::Result<Open> {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = self.tls.clone().ok_or_else(|| io::Error::other("no TLS was set up"))?;
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Open::Tls(Box::new(stream)))
    }

    fn send(&mut self, batch: &[Parcel]) -> io::Result<Vec<Fate>> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        let pid = std::process::id();
        let messages = batch.iter().map(|parcel| syslog::message(&parcel.alert, self.codec, &self.host_name, pid));
        let fates = match &mut open {
            Open::Udp(socket) => {
                let mut fates = Vec::new();
                for message in messages {
                    fates.push(if message.len() > DATAGRAM {
                        Fate::Refused(format!("{} bytes do not fit a datagram", message.len()))
                    } else {
                        socket.send(message.as_bytes())?;
                        Fate::Delivered
                    });
                }
                fates
            }
            Open::Tcp(stream) => {
                still_there(stream)?;
                stream.write_all(counted(messages).as_bytes())?;
                still_there(stream)?;
                all_delivered(batch)
            }
            Open::Tls(stream) => {
                still_there_behind(stream)?;
                stream.write_all(counted(messages).as_bytes())?;
                stream.flush()?;
                still_there_behind(stream)?;
                all_delivered(batch)
            }
        };
        self.open = Some(open);
        Ok(fates)
    }
}

impl Sink for Syslog {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        self.send(batch).map_err(|error| Trouble::later(format!("{}: {error}", self.address)))
    }
}

impl Drop for Syslog {
    /// Says that nothing follows and waits until the receiver has read it. A socket that is closed with unread bytes in it (a TLS 1.3
    /// ticket is enough) is reset (RFC 9293, section 3.6.1), and a reset takes with it what the receiver had not read yet.
    fn drop(&mut self) {
        let mut socket = match self.open.take() {
            Some(Open::Tls(mut stream)) => {
                stream.conn.send_close_notify();
                if stream.flush().is_err() {
                    return;
                }
                stream.sock
            }
            Some(Open::Tcp(socket)) => socket,
            Some(Open::Udp(_)) | None => return,
        };
        let end = Instant::now() + FAREWELL;
        let asked = socket.shutdown(Shutdown::Write).and_then(|()| socket.set_read_timeout(Some(FAREWELL)));
        while asked.is_ok() && Instant::now() < end && socket.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
    }
}

fn tcp(place: &std::net::SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(place, CONNECT)?;
    stream.set_write_timeout(Some(WRITE))?;
    stream.set_read_timeout(Some(CONNECT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// `MSG-LEN SP SYSLOG-MSG`, the length in octets.
fn counted(messages: impl Iterator<Item = String>) -> String {
    messages.map(|message| format!("{} {message}", message.len())).collect()
}

/// A receiver never speaks first, so an end of its direction means that it went away.
fn still_there(stream: &TcpStream) -> io::Result<()> {
    match at_once(stream, |stream| stream.peek(&mut [0])) {
        Ok(0) => Err(gone()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same behind TLS, where a receiver does speak: its tickets (TLS 1.3) are taken out of the way of an end that follows them.
fn still_there_behind(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> io::Result<()> {
    let StreamOwned { conn, sock } = stream;
    loop {
        match at_once(sock, |mut sock| conn.read_tls(&mut sock)) {
            Ok(0) => return Err(gone()),
            Ok(_) => {
                let state = conn.process_new_packets().map_err(io::Error::other)?;
                if state.peer_has_closed() {
                    return Err(gone());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn at_once<T>(stream: &TcpStream, run: impl FnOnce(&TcpStream) -> io::Result<T>) -> io::Result<T> {
    stream.set_nonblocking(true)?;
    let outcome = run(stream);
    stream.set_nonblocking(false)?;
    outcome
}

fn gone() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "the receiver closed the connection")
}
