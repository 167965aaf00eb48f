//! Who acts: an app by its name, which must prove to be the one that is registered, where one is.

use waxwing_protocol::RegistrationId;
use waxwing_protocol::api::AppDetails;

use super::{Apps, Denied, Which};

/// An app that holds, asks or answers something in a mesh.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Holder {
    pub(crate) which: Which,
    /// It is registered: the node keeps up what it holds, and ends that with the registration.
    pub(crate) registered: bool,
}

impl Apps {
    /// Who acts under a name. Whoever shows a registration is the instance that it is of. Without one the name alone is the
    /// caller, unless it is registered: then it is somebody else's.
    pub(crate) fn acting(&self, which: Which, shown: Option<&RegistrationId>) -> Result<Holder, Denied> {
        let mut registry = self.lock();
        registry.forget_ended();
        let Some(id) = shown else {
            let registered = registry.apps.contains_key(&which);
            return if registered { Err(Denied::Unproven) } else { Ok(Holder { which, registered }) };
        };
        let found = registry.apps.iter().find(|(_, app)| app.id == *id).map(|(which, _)| which.clone());
        match found {
            Some(own) if own.name == which.name && (which.instance.is_none() || own == which) => {
                Ok(Holder { which: own, registered: true })
            }
            Some(_) => Err(Denied::Unproven),
            None if registry.superseded.contains(id) => Err(Denied::Superseded),
            None => Err(Denied::Unknown),
        }
    }

    /// The registration that an app has now.
    pub(crate) fn registration(&self, which: &Which) -> Option<RegistrationId> {
        let mut registry = self.lock();
        registry.forget_ended();
        registry.apps.get(which).map(|app| app.id.clone())
    }

    /// What an app says about itself.
    pub(crate) fn details(&self, which: &Which) -> Option<AppDetails> {
        let mut registry = self.lock();
        registry.forget_ended();
        registry.apps.get(which).map(|app| app.details.clone())
    }

    /// Whether such a registration was ended by somebody, and not only not kept up.
    pub(crate) fn has_removed(&self, such: impl Fn(&RegistrationId) -> bool) -> bool {
        self.lock().removed.iter().any(such)
    }
}
