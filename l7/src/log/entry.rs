//! One request, as it will be written.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use http::{StatusCode, Version};
use netstack::tcp::Vitals;

use super::end::End;
use super::field::Value;
use crate::http1::head::RequestHead;
use crate::identity::Identity;

/// Bytes of a field of the request that are kept.
const FIELD: usize = 1024;

/// Bytes that are kept of a head that was refused.
const REFUSED: usize = 256;

/// What is known of one request. Kept for the life of its connection, so that the next one needs no
/// memory of its own.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) client: SocketAddr,
    pub(crate) scheme: &'static str,
    /// Text of the request; the ranges below are parts of it.
    text: Vec<u8>,
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    /// How a head that was refused began.
    pub(super) line: Range<usize>,
    /// Of fields that the format names, in its order; empty for one that is not there.
    headers: Vec<Range<usize>>,
    pub(super) version: Option<Version>,
    pub(crate) identity: Identity,
    pub(crate) status: Option<StatusCode>,
    pub(crate) request_body: u64,
    pub(crate) response_body: u64,
    pub(crate) received: Option<u64>,
    pub(crate) sent: Option<u64>,
    pub(crate) backend: Option<SocketAddr>,
    pub(crate) reused: Option<bool>,
    pub(crate) attempts: u32,
    /// What a cache made of it.
    pub(crate) cache: Option<&'static str>,
    pub(crate) end: End,
    pub(crate) head: Option<Duration>,
    pub(crate) wait: Option<Duration>,
    pub(crate) connect: Option<Duration>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) total: Duration,
    pub(crate) client_vitals: Option<Vitals>,
    pub(crate) backend_vitals: Option<Vitals>,
}

impl Entry {
    /// Nothing known but whose it is.
    pub(crate) fn new(client: SocketAddr, scheme: &'static str) -> Self {
        Self {
            client,
            scheme,
            text: Vec::new(),
            method: 0..0,
            target: 0..0,
            line: 0..0,
            headers: Vec::new(),
            version: None,
            identity: Identity::default(),
            status: None,
            request_body: 0,
            response_body: 0,
            received: None,
            sent: None,
            backend: None,
            reused: None,
            attempts: 0,
            cache: None,
            end: End::Stopped,
            head: None,
            wait: None,
            connect: None,
            first_byte: None,
            total: Duration::ZERO,
            client_vitals: None,
            backend_vitals: None,
        }
    }

    /// Forgets the request, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        let (mut text, mut headers) =
            (std::mem::take(&mut self.text), std::mem::take(&mut self.headers));
        text.clear();
        headers.clear();
        *self = Self { text, headers, ..Self::new(self.client, self.scheme) };
    }

    /// Takes down what a head says: of its fields those in `wanted`.
    pub(crate) fn describe(&mut self, head: &RequestHead<'_, '_>, wanted: &[Box<str>]) {
        self.version = Some(head.version);
        self.method = self.keep(head.method.as_str().as_bytes());
        self.target = self.keep(head.target.forwarded());
        self.headers.clear();
        for name in wanted {
            let mut fields = head.fields.iter().map(|(_, field)| field);
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name));
            let value = field.map_or(&[][..], |field| field.value);
            let kept = self.keep(value.get(..FIELD).unwrap_or(value));
            self.headers.push(kept);
        }
    }

    /// Takes down how a head began that was refused.
    pub(crate) fn refuse(&mut self, head: &[u8]) {
        let end = memchr::memchr2(b'\r', b'\n', head).unwrap_or(head.len());
        self.line = self.keep(head.get(..end.min(REFUSED)).unwrap_or_default());
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        start..self.text.len()
    }

    pub(super) fn part(&self, range: &Range<usize>) -> &[u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// Text of the request; nothing if it is not there.
    pub(super) fn foreign(&self, range: &Range<usize>) -> Value<'_> {
        if range.is_empty() { Value::None } else { Value::Foreign(self.part(range)) }
    }

    /// The field that the format names at `index`.
    pub(super) fn header(&self, index: usize) -> Value<'_> {
        self.headers.get(index).map_or(Value::None, |range| self.foreign(range))
    }

    pub(super) fn version(&self) -> &'static str {
        match self.version {
            None => "",
            Some(Version::HTTP_10) => "HTTP/1.0",
            Some(Version::HTTP_2) => "HTTP/2",
            Some(_) => "HTTP/1.1",
        }
    }
}
