//! State that the mesh shares.

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use serde::Serialize;
use waxwing_crypto::ClientMessageId;
use waxwing_protocol::api;

use crate::call::read;
use crate::error::{Error, Result};
use crate::{Client, query};

/// On what terms a key is changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KvTerms {
    /// Only where this stands: an etag, or a version.
    pub if_match: Option<String>,
    /// Only where nothing stands.
    pub if_absent: bool,
    /// Repeated under the same id, it is made once.
    pub id: Option<ClientMessageId>,
}

impl KvTerms {
    fn headers(&self) -> Vec<(HeaderName, String)> {
        let matches = self.if_match.as_ref().map(|etag| (IF_MATCH, format!("\"{etag}\"")));
        let absent = self.if_absent.then(|| (IF_NONE_MATCH, "*".to_owned()));
        let id = self
            .id
            .as_ref()
            .map(|id| (HeaderName::from_static(api::IDEMPOTENCY_HEADER), id.as_str().to_owned()));
        matches.into_iter().chain(absent).chain(id).collect()
    }
}

impl Client {
    /// Keys in order, with their values.
    ///
    /// # Errors
    /// [`Error::Problem`] with `offline` if this node has never seen the mesh's state.
    pub async fn kv_list(&self, query: &api::KvQuery) -> Result<api::KvPage> {
        self.get("/v1/kv/mesh", query).await
    }

    /// What stands under a key.
    ///
    /// # Errors
    /// [`Error::Problem`] with `not_found` if nothing does.
    pub async fn kv_get(&self, key: &str, query: &api::MeshQuery) -> Result<api::KvAnswer> {
        self.get(&path(key), query).await
    }

    /// The last versions of a key, the newest first.
    ///
    /// # Errors
    /// [`Error::Problem`] with `not_found` if nothing stands under it.
    pub async fn kv_history(&self, key: &str, query: &api::MeshQuery) -> Result<api::KvHistory> {
        self.get(&format!("{}/history", path(key)), query).await
    }

    /// Says what stands under a key from now on, as this client's app.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, KvTerms, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let node = node.app("ci".parse()?);
    /// let builds = node.kv_get("builds", &api::MeshQuery::default()).await?.entry;
    /// let next = builds.value.unwrap_or_default().parse::<u64>()? + 1;
    /// // Refused as `version_conflict` if somebody was faster.
    /// let terms = KvTerms { if_match: Some(builds.key.etag), ..Default::default() };
    /// let put = api::KvPut { value: Some(next.to_string()), ..Default::default() };
    /// node.kv_put("builds", &put, &terms).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Problem`] with `version_conflict` if something else stands there than the terms want, `offline` without a
    /// link, `unanswered` if it may have been made.
    pub async fn kv_put(&self, key: &str, put: &api::KvPut, terms: &KvTerms) -> Result<api::KvPutAnswer> {
        let (status, body) = self.call_on(&Method::PUT, &path(key), terms, json(put)?).await?;
        read(status, &body)
    }

    /// Deletes a key and its history.
    ///
    /// # Errors
    /// [`Error::Problem`] with `not_found` if nothing stands there, and as of [`Client::kv_put`].
    pub async fn kv_delete(&self, key: &str, terms: &KvTerms, query: &api::MeshQuery) -> Result<()> {
        let path = query::with_query(&path(key), query)?;
        let (status, body) = self.call_on(&Method::DELETE, &path, terms, Bytes::new()).await?;
        if status.is_success() { Ok(()) } else { Err(crate::call::refused(status, &body)) }
    }

    async fn call_on(
        &self,
        method: &Method,
        path: &str,
        terms: &KvTerms,
        body: Bytes,
    ) -> Result<(hyper::StatusCode, Bytes)> {
        let mut request = self.request(method, path, body)?;
        for (name, value) in terms.headers() {
            let value = value.parse().map_err(|_| Error::Incompatible(format!("{name} cannot be sent")))?;
            request.headers_mut().insert(name, value);
        }
        self.exchange(request).await
    }
}

/// The route of a key: nothing in it breaks out.
fn path(key: &str) -> String {
    format!("/v1/kv/mesh/{}", query::escaped(key))
}

fn json(value: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|err| Error::Incompatible(err.to_string()))
}
