//! Which meshes a node is in, changed while it runs.

use waxwing_protocol::api;

use crate::Client;
use crate::error::Result;

impl Client {
    /// Enters a mesh by an invite. The node's other meshes go on meanwhile.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `invite_expired`, `invite_used_up`, `invite_revoked` or `invite_unknown` for an invite that lets
    /// nobody in, `invite_other_name`, `name_taken`, `conflict` if the node is in that mesh already, `unreachable`,
    /// `wrong_broker`, `no_such_mesh`, or one of the codes for a broker that is another. After
    /// [`crate::Error::Lost`], the same request goes on where this one was.
    pub async fn join(&self, request: &api::JoinRequest) -> Result<api::JoinAnswer> {
        self.patient(true).post("/v1/mesh/join", request).await
    }

    /// Founds a mesh with this node as its first admin. The answer has the recovery words, which are kept nowhere.
    ///
    /// # Errors
    /// As for [`Client::join`].
    pub async fn create(&self, request: &api::CreateRequest) -> Result<api::CreateAnswer> {
        self.patient(true).post("/v1/mesh/create", request).await
    }

    /// Ends this node's membership of a mesh, and deletes its keys and mail there.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `last_admin`, or `offline` while the broker cannot be asked.
    pub async fn leave(&self, request: &api::LeaveRequest) -> Result<api::LeaveAnswer> {
        self.patient(true).post("/v1/mesh/leave", request).await
    }

    /// Says where a mesh's broker is dialled from now on. The mesh is closed for that moment.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `malformed` for a URL that cannot be.
    pub async fn move_broker(&self, request: &api::BrokerRequest) -> Result<api::BrokerAnswer> {
        self.post("/v1/mesh/broker", request).await
    }

    /// Gives this node new keys. Waits a while for them to stand in the mesh's log, and says whether they do.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `no_mesh` or `several_meshes`.
    pub async fn rotate_keys(&self, request: &api::RotateRequest) -> Result<api::RotateAnswer> {
        self.patient(true).post("/v1/mesh/rotate-keys", request).await
    }
}
