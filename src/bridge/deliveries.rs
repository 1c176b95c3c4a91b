//! The client's notifications and its answers to the server's requests: delivered, never answered.
//!
//! Notifications keep their order, one at a time; answers and cancellations overtake them. What could not leave is
//! tried again for a while; what was refused or may have arrived is given up with a line in the log.
//!
//! Spec: JSON-RPC 2.0 section 4.1; MCP 2025-11-25 basic/transports (Sending Messages to the Server, 4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Bridge, End, ExchangeId, Purpose, Refusal, Running, Stage, retry};
use crate::jsonrpc::Message;

/// A message on its way that nobody answers.
#[derive(Debug)]
pub(super) struct Delivery {
    message: Arc<Message>,
    since: Instant,
    state: State,
    failures: u32,
    ordered: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    Running(ExchangeId, Instant),
}

/// The next notification does not wait longer than this for the one before.
const TURN: Duration = Duration::from_secs(10);

impl Bridge {
    /// A notification whose turn has come.
    pub(super) fn deliver_note(&mut self, now: Instant, message: Arc<Message>) {
        if message.method() == Some("notifications/initialized") {
            self.confirming(now);
        }
        self.deliver(now, message, true);
    }

    pub(super) fn deliver(&mut self, now: Instant, message: Arc<Message>, ordered: bool) {
        self.deliveries.push(Delivery {
            message,
            since: now,
            state: State::Waiting(now),
            failures: 0,
            ordered,
        });
    }

    /// Sends what may leave now.
    pub(super) fn pump_deliveries(&mut self, now: Instant) {
        if !self.may_deliver() {
            return;
        }
        let mut at = 0;
        while let Some(delivery) = self.deliveries.get(at) {
            let turn = !delivery.ordered
                || !self
                    .deliveries
                    .iter()
                    .take(at)
                    .any(|before| before.ordered && before.blocks(now))
                    && !self.deliveries.iter().any(|other| {
                        other.ordered
                            && matches!(other.state, State::Running(_, since) if now < since + TURN)
                    });
            if turn && matches!(delivery.state, State::Waiting(from) if from <= now) {
                let action = self.post(Arc::clone(&delivery.message));
                let exchange = self.open(now, Purpose::Delivery, action);
                if let Some(delivery) = self.deliveries.get_mut(at) {
                    delivery.state = State::Running(exchange, now);
                }
            }
            at += 1;
        }
    }

    pub(super) fn delivery_refused(
        &mut self,
        now: Instant,
        id: ExchangeId,
        running: &Running,
        refusal: &Refusal,
    ) {
        let Some(mut delivery) = self.take_delivery(id) else {
            return;
        };
        let what = delivery.message.method().unwrap_or("an answer").to_owned();
        if running.with_session && refusal.status == 404 {
            self.lose_session(running.generation);
        }
        if let Some(challenge) = &refusal.needs_sign_in
            && delivery.failures == 0
            && !self.is_stopping()
        {
            delivery.failures += 1;
            delivery.state = State::Waiting(now);
            self.deliveries.insert(0, delivery);
            self.start_sign_in(now, challenge);
            return;
        }
        self.warn(format!("{what} was not accepted: {}", refusal.error.what()));
        self.delivered(now, &delivery);
    }

    pub(super) fn delivery_ended(&mut self, now: Instant, id: ExchangeId, end: End) {
        let Some(mut delivery) = self.take_delivery(id) else {
            return;
        };
        match end {
            End::Complete => self.delivered(now, &delivery),
            End::Broken(_, Stage::NotSent)
                if now < delivery.since + retry::PATIENCE && !self.is_stopping() =>
            {
                delivery.failures += 1;
                let pause = self.backoff.pause(
                    delivery.failures,
                    retry::FIRST_PAUSE,
                    retry::MOST_WHILE_WAITED_FOR,
                );
                delivery.state = State::Waiting(now + pause);
                self.deliveries.insert(0, delivery);
            }
            End::Broken(error, _) => {
                self.warn(format!(
                    "{} was not delivered: {}",
                    delivery.message.method().unwrap_or("an answer"),
                    error.what()
                ));
                self.delivered(now, &delivery);
            }
        }
    }

    fn delivered(&mut self, now: Instant, delivery: &Delivery) {
        if delivery.message.method() == Some("notifications/initialized") {
            self.confirmed(now);
        }
    }

    fn take_delivery(&mut self, id: ExchangeId) -> Option<Delivery> {
        let at = self.deliveries.iter().position(
            |delivery| matches!(delivery.state, State::Running(exchange, _) if exchange == id),
        )?;
        Some(self.deliveries.remove(at))
    }

    /// Sending happens in `pump`; this only makes sure that it runs in time.
    pub(super) fn deliveries_are_due(&mut self, _now: Instant) {}

    fn may_deliver(&self) -> bool {
        self.is_signed_in() && (!self.link.is_sse() || self.link.endpoint().is_some())
    }

    /// What waits for something that will not come.
    pub(super) fn drop_deliveries(&mut self, why: &str) {
        let (waiting, running) = std::mem::take(&mut self.deliveries)
            .into_iter()
            .partition(|delivery| matches!(delivery.state, State::Waiting(_)));
        self.deliveries = running;
        let waiting: Vec<Delivery> = waiting;
        for delivery in waiting {
            let what = delivery.message.method().unwrap_or("an answer");
            self.warn(format!("{what} was not delivered: {why}"));
        }
    }

    pub(super) fn deliveries_due(&self) -> Option<Instant> {
        if !self.may_deliver() {
            return None;
        }
        let waits = self
            .deliveries
            .iter()
            .any(|delivery| matches!(delivery.state, State::Waiting(_)));
        let is_running =
            |other: &Delivery| other.ordered && matches!(other.state, State::Running(..));
        let has_turn = !self.deliveries.iter().any(is_running);
        let due = |delivery: &Delivery| match delivery.state {
            // Behind one that is on its way, that one's turn decides.
            State::Waiting(from) => {
                (delivery.failures > 0 && (has_turn || !delivery.ordered)).then_some(from)
            }
            State::Running(_, since) => (waits && delivery.ordered).then_some(since + TURN),
        };
        self.deliveries.iter().filter_map(due).min()
    }
}

impl Delivery {
    fn blocks(&self, now: Instant) -> bool {
        match self.state {
            State::Waiting(_) => true,
            State::Running(_, since) => now < since + TURN,
        }
    }
}
