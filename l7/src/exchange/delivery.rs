//! The body of an answer, on its way to the client.

use std::future::poll_fn;
use std::task::{Context, Poll};

use http::Version;

use super::{Delivered, Exchange, Response, Rest, Upload};
use crate::buffering;
use crate::failure::Failure;
use crate::http1::framing::Framing;
use crate::log::End;
use crate::relay::{Relay, RelayError};
use crate::side::{Backend, Client};

impl<K: Client, B: Backend> Exchange<'_, '_, K, B> {
    /// Delivers the rest of the response.
    pub(super) async fn deliver(&mut self, response: Response) -> Result<Delivered, Failure> {
        let mut download = Relay::new(response.framing, response.delivery.framing)
            .with_trailers(self.request.trailers || self.request.version == Version::HTTP_2)
            .copying(self.fetch.as_ref().is_some_and(|fetch| fetch.keeps()));
        let room = self.hoard.and_then(|(hoard, limit)| {
            let length = buffering::expected(response.framing, limit);
            Some((length, hoard.reserve(length)?))
        });
        if let Some((length, _)) = &room {
            download = download.hoarding((*length).max(1));
        }
        let mut waited = false;
        poll_fn(|cx| self.poll_deliver(cx, &mut download, &mut waited)).await?;
        if let Some(fetch) = &mut self.fetch {
            fetch.finish();
        }
        if let Some((_, room)) = room {
            self.rest = Some(Rest { trailers: download.take_trailers(), _room: room });
        }
        let reusable = self.upload == Upload::Sent
            && response.persistent
            && response.framing != Framing::UntilClose
            && self.buffers.upstream_in.is_empty();
        Ok(Delivered::Response { close: response.delivery.close, reusable, instead: None })
    }

    fn poll_deliver(
        &mut self,
        cx: &mut Context<'_>,
        download: &mut Relay,
        waited: &mut bool,
    ) -> Poll<Result<(), Failure>> {
        // The answer is on its way: what is wrong with the rest of the request can no longer be said.
        if self.poll_upload(cx, self.timeouts.body).is_err() {
            return Poll::Ready(Err(Failure::ClientGone));
        }
        let before = download.moved;
        let polled = download.poll(
            cx,
            self.upstream,
            &mut self.buffers.upstream_in,
            self.client,
            &mut self.buffers.client_out,
        );
        let moved = download.moved - before;
        if let (Some(copied), Some(fetch)) = (download.copied(), &mut self.fetch) {
            fetch.body(copied);
            copied.clear();
        }
        self.told.down = download.moved;
        if moved > 0 {
            self.stats.bytes_down.add(moved);
            self.upstream.taken(moved);
        }
        // A response that is here as a whole, as most are, costs no look at the clock.
        if polled.is_pending() && (moved > 0 || !*waited) {
            *waited = true;
            self.deadline.restart(self.timeouts.body);
        }
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Cut(match error {
                RelayError::Source | RelayError::Truncated => End::BackendCut,
                RelayError::Malformed(reject) => End::BackendGarbage(reject.rule),
                RelayError::Sink => End::ClientGone,
            }))),
            Poll::Pending if self.client.has_cancelled(cx) => Poll::Ready(Err(Failure::ClientGone)),
            Poll::Pending => self.deadline.poll(cx).map(|()| {
                let is_late =
                    if download.starved { End::BackendTimeout } else { End::ClientTimeout };
                Err(Failure::Cut(is_late))
            }),
        }
    }
}
