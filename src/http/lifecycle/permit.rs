use std::ops::Deref;
use std::sync::Arc;

use super::admission::Admitted;
use super::shutdown::{Lifetime, Member};

/// A connection's place in its server and in its lifetime: the last that it lets go of.
pub(crate) struct Place {
    _admitted: Admitted,
    member: Member,
}

impl Place {
    pub(crate) fn new(admitted: Admitted, member: Member) -> Place {
        Place { _admitted: admitted, member }
    }

    pub(crate) fn lifetime(&self) -> &Arc<Lifetime> {
        self.member.lifetime()
    }
}

impl Deref for Place {
    type Target = Lifetime;

    fn deref(&self) -> &Lifetime {
        &self.member
    }
}
