/// What the load generator asks a broadcasting server for, as a text message `COUNT SIZE`: so many messages of so many
/// bytes to every connection, all in one go.
#[derive(Clone, Copy, Debug)]
pub struct Trigger {
    /// How many messages each connection gets.
    pub count: usize,
    /// Bytes in each of them.
    pub size: usize,
}

impl Trigger {
    /// `None` if the text is something else.
    pub fn read(text: &str) -> Option<Trigger> {
        let (count, size) = text.split_once(' ')?;
        Some(Trigger { count: count.parse().ok()?, size: size.parse().ok()? })
    }

    /// The text of each message.
    pub fn payload(&self) -> String {
        "x".repeat(self.size)
    }
}
