//! Apps that say that they are there, and what the node says of whoever is at it.

use hyper::Method;
use waxwing_crypto::Name;
use waxwing_protocol::api;

use crate::Client;
use crate::error::Result;

impl Client {
    /// Apps by what they say about themselves.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn apps(&self, query: &api::AppsQuery) -> Result<api::Apps> {
        self.get("/v1/apps", query).await
    }

    /// Registers an app for a while, renews that, or says more about it. Renewing takes the registration's id.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let ttl = Some("1m".to_owned());
    /// let kind = Some("reviewer".to_owned());
    /// let held = node.register(&"ann".parse()?, &api::Registration { ttl: ttl.clone(), kind, ..Default::default() }).await?;
    /// // Again before the minute is over. What is left out stays as it was.
    /// let registration = Some(held.registration);
    /// node.register(&"ann".parse()?, &api::Registration { ttl, registration, ..Default::default() }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `app_registered` if somebody else has the name, `superseded` if somebody has taken it,
    /// `too_many_apps`.
    pub async fn register(&self, app: &Name, registration: &api::Registration) -> Result<api::Registered> {
        let registered: api::Registered =
            self.write(Method::PUT, &format!("/v1/apps/{app}"), registration).await?;
        self.remember(app, Some(&registered.registration));
        Ok(registered)
    }

    /// Ends an app's registration: the one that the query names, or whichever there is.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `unknown_app` if there is none, `superseded` if another has taken its place.
    pub async fn unregister(&self, app: &Name, query: &api::RemoveQuery) -> Result<()> {
        self.remove(&format!("/v1/apps/{app}"), query).await?;
        self.remember(app, None);
        Ok(())
    }

    /// What the node tells its peers of whoever is at it.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn profile(&self, query: &api::MeshQuery) -> Result<api::OwnProfile> {
        self.get("/v1/profile", query).await
    }

    /// Says this from now on. What is left out stays as it was.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `malformed` for a text that is too long.
    pub async fn set_profile(&self, request: &api::ProfileRequest) -> Result<api::OwnProfile> {
        self.post("/v1/profile", request).await
    }
}
