//! The buffers of a TCP connection, no larger than the data that passes through them.
//!
//! ureq's `LazyBuffers` honour the configured sizes, but allocate all of it, resident, for each connection; with them, 64 calls in
//! flight take 13 MB instead of 9.5. Here the output is as long as the longest head may be,
//! and the input begins small, doubles when a read fills it, and begins small again with the next request if the last response
//! did not need more. A worker that is idle drops its connection, and with it the buffers.
//!
//! All blocks are small enough for the C library to use them again: blocks of 128 KiB and more are mapped by themselves
//! only until the first of them is freed, where the C library is glibc (mallopt(3), M_MMAP_THRESHOLD); from then on each
//! of its heaps, up to eight for each processor, keeps what the largest burst has left there.

use ureq::unversioned::transport::Buffers;

use crate::transport::net::agent::OUTPUT_BUFFER;

/// Enough for the head of a response and most bodies.
const INITIAL_INPUT: usize = 4 * 1024;
/// The longest allowed head fits, and a large body comes in large reads.
const MAX_INPUT: usize = 64 * 1024;

/// Event that is read and not consumed, and output to be written.
#[derive(Debug, Default)]
pub(crate) struct GrowingBuffers {
    input: Vec<u8>,
    /// The part of the input that waits to be consumed.
    from: usize,
    to: usize,
    /// The most input that waited at once since the request began.
    peak: usize,
    /// The last read filled the input: there may be more to read than fits.
    was_filled: bool,
    /// The last look at the input consumed something; if not, more has to come first.
    was_of_use: bool,
    output: Vec<u8>,
}

impl GrowingBuffers {
    fn free_input(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.input.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.input.is_empty() {
            self.input = vec![0; INITIAL_INPUT];
        } else if self.was_filled && self.input.len() < MAX_INPUT {
            self.input.resize(self.input.len() * 2, 0);
        }
        self.was_filled = false;
        self.input.get_mut(self.to..).unwrap_or_default()
    }

    /// The output is not needed before the next request; each waiting exchange would hold it.
    pub(crate) fn give_back_output(&mut self) {
        self.output = Vec::new();
    }

    fn whole_output(&mut self) -> &mut [u8] {
        if self.output.is_empty() {
            self.output = vec![0; OUTPUT_BUFFER];
        }
        &mut self.output
    }
}

impl Buffers for GrowingBuffers {
    fn output(&mut self) -> &mut [u8] {
        // The next request begins.
        if self.input().is_empty() && self.peak > 0 {
            if self.peak <= INITIAL_INPUT && self.input.len() > INITIAL_INPUT {
                self.input = Vec::new();
            }
            self.peak = 0;
        }
        self.whole_output()
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.from..self.to).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.free_input()
    }

    fn input_appended(&mut self, amount: usize) {
        self.to = self.to.saturating_add(amount).min(self.input.len());
        self.was_filled = self.to == self.input.len();
        self.peak = self.peak.max(self.to);
    }

    fn input_consume(&mut self, amount: usize) {
        self.was_of_use = amount > 0;
        self.from = self.from.saturating_add(amount).min(self.to);
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.whole_output();
        self.free_input();
        let free = self.input.get_mut(self.to..).unwrap_or_default();
        (free, &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        self.was_of_use && !self.input().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(pages: &mut GrowingBuffers, bytes: &[u8]) {
        pages.input_append_buf()[..bytes.len()].copy_from_slice(bytes);
        pages.input_appended(bytes.len());
    }

    #[test]
    fn what_is_not_consumed_stays_in_order_before_what_comes() {
        let mut pages = GrowingBuffers::default();
        append(&mut pages, b"abc");
        pages.input_consume(1);
        append(&mut pages, b"de");
        assert_eq!(pages.input(), b"bcde");
        pages.input_consume(4);
        assert_eq!(pages.input(), b"");
        assert_eq!(pages.input_append_buf().len(), INITIAL_INPUT);
    }

    #[test]
    fn input_that_was_of_no_use_waits_for_more() {
        let mut pages = GrowingBuffers::default();
        assert!(!pages.can_use_input());
        append(&mut pages, b"half a head");
        pages.input_consume(0);
        assert!(!pages.can_use_input());
        pages.input_consume(1);
        assert!(pages.can_use_input());
    }

    #[test]
    fn a_full_input_takes_no_more_and_a_scratch_buffer_leaves_it_alone() {
        let mut pages = GrowingBuffers::default();
        while pages.input().len() < MAX_INPUT - 1 {
            let left = MAX_INPUT - 1 - pages.input().len();
            let free = pages.input_append_buf().len().min(left);
            append(&mut pages, &vec![1; free]);
        }
        let (free, output) = pages.tmp_and_output();
        assert_eq!((free.len(), output.len()), (1, OUTPUT_BUFFER));
        append(&mut pages, &[2]);
        assert!(pages.input_append_buf().is_empty());
        assert_eq!(pages.input().len(), MAX_INPUT);
        assert_eq!(pages.input().last(), Some(&2));
    }

    #[test]
    fn a_connection_holds_no_more_than_it_uses() {
        let mut pages = GrowingBuffers::default();
        assert_eq!(pages.output().len(), OUTPUT_BUFFER);
        append(&mut pages, b"a short answer");
        assert_eq!(pages.input.capacity(), INITIAL_INPUT);
        // Bodies that fill what they are given get more, also if all of it is consumed each time.
        for _ in 0..10 {
            let free = pages.input_append_buf().len();
            append(&mut pages, &vec![1; free]);
            pages.input_consume(usize::MAX);
        }
        assert_eq!(pages.input.len(), MAX_INPUT);
        // The next request keeps them; the one after it does not, since the response between needed less.
        for kept in [MAX_INPUT, 0] {
            pages.output();
            pages.output();
            assert_eq!(pages.input.len(), kept);
            append(&mut pages, b"a short answer");
            pages.input_consume(usize::MAX);
        }
        assert_eq!(pages.input.len(), INITIAL_INPUT);
    }
}
