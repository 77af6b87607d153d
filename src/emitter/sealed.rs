/// An argument of the methods of sealed traits: other crates cannot name it, so they cannot
/// implement the trait.
#[derive(Debug)]
pub struct Sealed;
