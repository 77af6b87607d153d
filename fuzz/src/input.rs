//! What the fuzzer made, as the targets read it.

/// The bytes of one run, taken from the front. Behind their end there are zeros, so that every input means something.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next `count` bytes, or all that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Bytes behind a byte that says how many.
    pub fn short(&mut self) -> &'a [u8] {
        let count = self.byte();
        self.take(count.into())
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Three bytes that say where other bytes are cut.
    pub fn cuts(&mut self) -> Cuts {
        let size = |byte: u8| match byte {
            0..0xC0 => usize::from(byte),
            _ => 700 * usize::from(byte - 0xBF),
        };
        let sizes = [self.byte(), self.byte(), self.byte()];
        Cuts { sizes: sizes.into_iter().map(size).filter(|size| *size > 0).collect() }
    }
}

/// The sizes of the pieces that bytes arrive in, over and over; without any they arrive whole.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    sizes: Vec<usize>,
}

impl Cuts {
    /// In one piece.
    pub fn whole() -> Cuts {
        Cuts { sizes: Vec::new() }
    }

    /// One byte at a time.
    pub fn bytes() -> Cuts {
        Cuts { sizes: vec![1] }
    }

    pub fn is_whole(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The size of a piece; the last may have fewer bytes.
    pub fn size(&self, number: usize) -> usize {
        if self.sizes.is_empty() { usize::MAX } else { self.sizes[number % self.sizes.len()] }
    }
}
