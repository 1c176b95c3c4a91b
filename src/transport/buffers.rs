//! The buffers of a TCP connection, as ureq wants them: large, but resident only as far as they are used.
//!
//! ureq's own are filled with zeros when they are made, so all of them is resident for each connection. These are asked
//! for as zeros, in blocks that C libraries take from the system by themselves (from 128 KiB on): a page that was never
//! written takes no memory, and a call of the usual size writes one or two.

use ureq::unversioned::transport::Buffers;

/// From this size on, musl and glibc map a block by itself.
const SIZE: usize = 128 * 1024;

/// What is read and not consumed, and what is to be written.
#[derive(Debug, Default)]
pub(super) struct Pages {
    input: Vec<u8>,
    /// The part of the input that waits to be consumed.
    from: usize,
    to: usize,
    /// Something of it was consumed when it was looked at last; else more has to come first.
    was_of_use: bool,
    output: Vec<u8>,
}

impl Pages {
    fn free_input(&mut self) -> &mut [u8] {
        if self.input.is_empty() {
            self.input = vec![0; SIZE];
        }
        if self.from > 0 {
            self.input.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        self.input.get_mut(self.to..).unwrap_or_default()
    }
}

impl Buffers for Pages {
    fn output(&mut self) -> &mut [u8] {
        if self.output.is_empty() {
            self.output = vec![0; SIZE];
        }
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.from..self.to).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.free_input()
    }

    fn input_appended(&mut self, amount: usize) {
        self.to = self.to.saturating_add(amount).min(self.input.len());
    }

    fn input_consume(&mut self, amount: usize) {
        self.was_of_use = amount > 0;
        self.from = self.from.saturating_add(amount).min(self.to);
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.output();
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

    fn append(pages: &mut Pages, bytes: &[u8]) {
        pages.input_append_buf()[..bytes.len()].copy_from_slice(bytes);
        pages.input_appended(bytes.len());
    }

    #[test]
    fn what_is_not_consumed_stays_in_order_before_what_comes() {
        let mut pages = Pages::default();
        append(&mut pages, b"abc");
        pages.input_consume(1);
        append(&mut pages, b"de");
        assert_eq!(pages.input(), b"bcde");
        pages.input_consume(4);
        assert_eq!(pages.input(), b"");
        assert_eq!(pages.input_append_buf().len(), SIZE);
    }

    #[test]
    fn input_that_was_of_no_use_waits_for_more() {
        let mut pages = Pages::default();
        assert!(!pages.can_use_input());
        append(&mut pages, b"half a head");
        pages.input_consume(0);
        assert!(!pages.can_use_input());
        pages.input_consume(1);
        assert!(pages.can_use_input());
    }

    #[test]
    fn a_full_input_takes_no_more_and_a_scratch_buffer_leaves_it_alone() {
        let mut pages = Pages::default();
        append(&mut pages, &[1; SIZE - 1]);
        let (free, output) = pages.tmp_and_output();
        assert_eq!((free.len(), output.len()), (1, SIZE));
        append(&mut pages, &[2]);
        assert!(pages.input_append_buf().is_empty());
        assert_eq!(pages.input().len(), SIZE);
    }
}
