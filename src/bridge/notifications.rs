//! The notifications and responses of the client: sent to the server, which sends no response.
//!
//! - Notifications keep their order, one at a time. Responses and cancellations overtake them.
//! - A message that could not be sent, or that was refused with 429 or 503, is retried for a while. One that was refused
//!   otherwise, or that may have arrived, is dropped with a line in the log; so are messages that wait for too long or are too
//!   many while the server is away.
//!
//! Spec: JSON-RPC 2.0 section 4.1; MCP 2025-11-25 basic/transports (Sending Messages to the Server, 4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bridge::{Bridge, Deferred, End, ExchangeId, Purpose, Refusal, Running, Stage, backoff};
use crate::jsonrpc::Message;

/// A message to the server that gets no response.
#[derive(Debug)]
pub(crate) struct Delivery {
    message: Arc<Message>,
    since: Instant,
    state: DeliveryState,
    failures: u32,
    /// It has waited for a sign-in.
    signed_in: bool,
    ordered: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum DeliveryState {
    Deferred(Instant),
    Running(ExchangeId, Instant),
}

/// How long a notification waits for the one before it.
const MAX_HEAD_OF_LINE_WAIT: Duration = Duration::from_secs(10);

/// How many messages may wait.
const MAX_WAITING: usize = 1000;

impl Bridge {
    /// Defers a notification.
    pub(crate) fn admit_note(&mut self, message: Message) {
        if self.notes().count() >= MAX_WAITING {
            self.not_delivered(&message, "too many wait for the server already");
        } else {
            let message = Arc::new(message);
            self.deferred
                .push_back(Deferred::Notification(message, self.now));
        }
    }

    fn notes(&self) -> impl Iterator<Item = Instant> {
        self.deferred.iter().filter_map(|waiting| match waiting {
            Deferred::Notification(_, since) => Some(*since),
            Deferred::Request(..) => None,
        })
    }

    /// Restarts the time limit of deferred notifications after a sign-in.
    pub(crate) fn notes_wait_anew(&mut self) {
        for waiting in &mut self.deferred {
            if let Deferred::Notification(_, since) = waiting {
                *since = self.now;
            }
        }
        for delivery in &mut self.deliveries {
            delivery.since = self.now;
        }
    }

    fn drop_stale_notes(&mut self) {
        while let Some(at) = self.deferred.iter().position(|waiting| {
            matches!(waiting, Deferred::Notification(_, since) if *since + backoff::RESUME_LIMIT <= self.now)
        }) {
            if let Some(Deferred::Notification(message, _)) = self.deferred.remove(at) {
                self.not_delivered(&message, "it could not be sent in time");
            }
        }
    }

    fn not_delivered(&mut self, message: &Message, why: &str) {
        let what = message.method().unwrap_or("an answer");
        self.warn(format!("{what} was not delivered: {why}"));
    }

    /// Sends a notification that is no longer deferred.
    pub(crate) fn deliver_note(&mut self, message: Arc<Message>) {
        if message.method() == Some("notifications/initialized") {
            self.confirming();
        }
        self.deliver(message, true);
    }

    pub(crate) fn deliver(&mut self, message: Arc<Message>, ordered: bool) {
        if self.deliveries.len() >= MAX_WAITING {
            return self.not_delivered(&message, "too many wait for the server already");
        }
        self.deliveries.push(Delivery {
            message,
            since: self.now,
            state: DeliveryState::Deferred(self.now),
            failures: 0,
            signed_in: false,
            ordered,
        });
    }

    /// Sends what may be sent now.
    pub(crate) fn pump_deliveries(&mut self) {
        if !self.may_deliver() {
            return;
        }
        while let Some(at) = self.next_delivery() {
            let Some(delivery) = self.deliveries.get(at) else {
                return;
            };
            let action = self.post(Arc::clone(&delivery.message));
            let exchange = self.open(Purpose::Delivery, action);
            if let Some(delivery) = self.deliveries.get_mut(at) {
                delivery.state = DeliveryState::Running(exchange, self.now);
            }
        }
    }

    /// The place of the first delivery that may be sent now.
    fn next_delivery(&self) -> Option<usize> {
        let mut waiting = self.waiting_deliveries();
        waiting.find_map(|(at, from)| (from <= self.now).then_some(at))
    }

    /// The deliveries that may be sent, by place, and from when. Notifications are sent one at a time, in order.
    fn waiting_deliveries(&self) -> impl Iterator<Item = (usize, Instant)> {
        let ordered = |delivery: &&Delivery| delivery.ordered;
        let running = self.deliveries.iter().filter(ordered);
        let running = running.filter_map(|delivery| match delivery.state {
            DeliveryState::Deferred(_) => None,
            DeliveryState::Running(_, since) => Some(since + MAX_HEAD_OF_LINE_WAIT),
        });
        let turn = running.max();
        let first = self.deliveries.iter().position(|delivery| {
            delivery.ordered && matches!(delivery.state, DeliveryState::Deferred(_))
        });
        let deliveries = self.deliveries.iter().enumerate();
        deliveries.filter_map(move |(at, delivery)| match delivery.state {
            DeliveryState::Deferred(from) if !delivery.ordered => Some((at, from)),
            DeliveryState::Deferred(from) if first == Some(at) => {
                Some((at, turn.map_or(from, |turn| turn.max(from))))
            }
            DeliveryState::Deferred(_) | DeliveryState::Running(..) => None,
        })
    }

    pub(crate) fn delivery_refused(
        &mut self,
        id: ExchangeId,
        running: &Running,
        refusal: &Refusal,
    ) {
        let Some(mut delivery) = self.take_delivery(id) else {
            return;
        };
        let what = delivery.message.method().unwrap_or("an answer").to_owned();
        let in_session = running.with_session || self.link.is_sse();
        if in_session && refusal.status == 404 {
            self.lose_session(running.generation);
        }
        if self.session_is_open() && self.is_lost_with_401(running, refusal) {
            // Sent again in the new session, which is tried only once.
            self.session.reinitialized_in_vain = Some(self.now);
            self.lose_session(running.generation);
            let waiting = Deferred::Notification(delivery.message, delivery.since);
            return self.deferred.push_front(waiting);
        }
        if let Some(challenge) = &refusal.needs_sign_in
            && !delivery.signed_in
            && !self.is_stopping()
        {
            delivery.signed_in = true;
            delivery.state = DeliveryState::Deferred(self.now);
            self.deliveries.insert(0, delivery);
            self.start_sign_in(challenge);
            return;
        }
        let until = delivery.since + backoff::RESUME_LIMIT;
        if matches!(refusal.status, 429 | 503)
            && !self.is_stopping()
            && self.now + refusal.retry_after.unwrap_or_default() < until
        {
            return self.retry_delivery(delivery, refusal.retry_after);
        }
        self.warn(format!("{what} was not accepted: {}", refusal.error.what()));
        self.delivered(&delivery);
    }

    pub(crate) fn delivery_ended(&mut self, id: ExchangeId, end: End) {
        let Some(delivery) = self.take_delivery(id) else {
            return;
        };
        match end {
            End::Complete => self.delivered(&delivery),
            End::Broken(_, Stage::NotSent)
                if self.now < delivery.since + backoff::REQUEST_RETRY_LIMIT
                    && !self.is_stopping() =>
            {
                self.retry_delivery(delivery, None);
            }
            End::Broken(error, _) => {
                self.not_delivered(&delivery.message, error.what());
                self.delivered(&delivery);
            }
        }
    }

    /// Sends a delivery again after `pause`, or after the usual one.
    fn retry_delivery(&mut self, mut delivery: Delivery, pause: Option<Duration>) {
        delivery.failures += 1;
        let usual = self.backoff.pause(
            delivery.failures,
            backoff::MIN_BACKOFF,
            backoff::MAX_REQUEST_BACKOFF,
        );
        delivery.state = DeliveryState::Deferred(self.now + pause.unwrap_or(usual));
        self.deliveries.insert(0, delivery);
    }

    fn delivered(&mut self, delivery: &Delivery) {
        if delivery.message.method() == Some("notifications/initialized") {
            self.confirmed();
        }
    }

    fn take_delivery(&mut self, id: ExchangeId) -> Option<Delivery> {
        let at = self.deliveries.iter().position(
            |delivery| matches!(delivery.state, DeliveryState::Running(exchange, _) if exchange == id),
        )?;
        Some(self.deliveries.remove(at))
    }

    /// Drops what has waited too long. `pump` sends the rest.
    pub(crate) fn deliveries_are_due(&mut self) {
        if self.is_signed_in() {
            self.drop_stale_notes();
        }
        if self.may_deliver() {
            return;
        }
        let all = std::mem::take(&mut self.deliveries);
        for delivery in all {
            if self.stale_at(&delivery).is_some_and(|at| at <= self.now) {
                self.not_delivered(&delivery.message, "it could not be sent in time");
            } else {
                self.deliveries.push(delivery);
            }
        }
    }

    /// When a delivery is dropped if it cannot be sent. The handshake waits for as long as a sign-in takes.
    fn stale_at(&self, delivery: &Delivery) -> Option<Instant> {
        let may_be_stale = !delivery.ordered || self.is_signed_in();
        (may_be_stale && matches!(delivery.state, DeliveryState::Deferred(_)))
            .then_some(delivery.since + backoff::RESUME_LIMIT)
    }

    fn may_deliver(&self) -> bool {
        self.is_signed_in() && (!self.link.is_sse() || self.link.endpoint().is_some())
    }

    /// Drops what waits for a sign-in that failed.
    pub(crate) fn drop_deliveries(&mut self, why: &str) {
        let (waiting, running) = std::mem::take(&mut self.deliveries)
            .into_iter()
            .partition(|delivery| matches!(delivery.state, DeliveryState::Deferred(_)));
        self.deliveries = running;
        let waiting: Vec<Delivery> = waiting;
        for delivery in waiting {
            self.not_delivered(&delivery.message, why);
        }
    }

    pub(crate) fn deliveries_due(&self) -> Option<Instant> {
        let notes = self.notes().filter(|_| self.is_signed_in()).min();
        let notes = notes.map(|since| since + backoff::RESUME_LIMIT);
        let deliveries = if self.may_deliver() {
            self.waiting_deliveries().map(|(_, from)| from).min()
        } else {
            let stale = |delivery| self.stale_at(delivery);
            self.deliveries.iter().filter_map(stale).min()
        };
        [notes, deliveries].into_iter().flatten().min()
    }
}
