//! Every route of the local API, and what a token must allow for it. The node serves nothing that is not here.

use super::TokenScope;

/// One method of one path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path, with `{...}` for what varies.
    pub path: &'static str,
    /// What a token must allow.
    pub scope: TokenScope,
    /// Whether a token for one app is good for it: it is about that app, or about nobody's messages.
    pub for_one_app: bool,
    /// What it is for.
    pub about: &'static str,
}

impl Route {
    const fn new(scope: TokenScope, method: &'static str, path: &'static str, about: &'static str) -> Self {
        Self { method, path, scope, for_one_app: false, about }
    }

    const fn read(path: &'static str, about: &'static str) -> Self {
        Self::new(TokenScope::Read, "GET", path, about)
    }

    const fn send(method: &'static str, path: &'static str, about: &'static str) -> Self {
        Self::new(TokenScope::Send, method, path, about)
    }

    const fn admin(method: &'static str, path: &'static str, about: &'static str) -> Self {
        Self::new(TokenScope::Admin, method, path, about)
    }

    const fn for_one_app(self) -> Self {
        Self { for_one_app: true, ..self }
    }

    /// The one with this method and path.
    pub fn find(method: &str, path: &str) -> Option<&'static Self> {
        ROUTES.iter().find(|route| route.method == method && route.path == path)
    }
}

/// All of them.
pub const ROUTES: [Route; 68] = [
    Route::read("/v1/version", "Version of the node and of this API").for_one_app(),
    Route::read("/v1/health", "How the node and its meshes are").for_one_app(),
    Route::read("/v1/metrics", "What the node counts, as OpenMetrics text").for_one_app(),
    Route::read("/v1/openapi.json", "This API, described").for_one_app(),
    Route::send("POST", "/v1/send", "Sends a message").for_one_app(),
    Route::send("POST", "/v1/send/batch", "Sends up to 1,000 messages in one commit").for_one_app(),
    Route::read("/v1/send/{id}", "What became of a message").for_one_app(),
    Route::read("/v1/send/{id}/broker", "What the broker holds of a message"),
    Route::read("/v1/inbox", "Messages received; reading changes nothing").for_one_app(),
    Route::send("POST", "/v1/inbox/ack", "Marks messages read").for_one_app(),
    Route::send("DELETE", "/v1/inbox/{id}", "Deletes a message from the inbox").for_one_app(),
    Route::read("/v1/events", "What happens, as a stream that can be resumed").for_one_app(),
    Route::send("POST", "/v1/request", "Asks whoever serves an app, and waits for the answer").for_one_app(),
    Route::send("POST", "/v1/request/cancel", "Waits for an answer no more").for_one_app(),
    Route::send("POST", "/v1/reply", "Answers a request, refuses it, or tells how it goes").for_one_app(),
    Route::read("/v1/apps", "Apps by what they say about themselves").for_one_app(),
    Route::send("PUT", "/v1/apps/{name}", "Registers an app, renews that, or says more about it")
        .for_one_app(),
    Route::send("DELETE", "/v1/apps/{name}", "Ends an app's registration").for_one_app(),
    Route::read("/v1/profile", "What peers see of this node").for_one_app(),
    Route::send("POST", "/v1/profile", "Says what peers see of this node"),
    Route::read("/v1/claims", "Who has claimed what, and what is done").for_one_app(),
    Route::send("POST", "/v1/claims/try", "Asks to be the one who acts on something").for_one_app(),
    Route::send("POST", "/v1/claims/complete", "Says that the app has acted").for_one_app(),
    Route::send("POST", "/v1/claims/abandon", "Gives a claim up").for_one_app(),
    Route::read("/v1/kv/{scope}", "Keys of shared state, with their values").for_one_app(),
    Route::read("/v1/kv/{scope}/{key}", "What stands under a key of shared state").for_one_app(),
    Route::send("PUT", "/v1/kv/{scope}/{key}", "Says what stands under a key of shared state").for_one_app(),
    Route::send("DELETE", "/v1/kv/{scope}/{key}", "Deletes a key of shared state, and its history")
        .for_one_app(),
    Route::read("/v1/kv/{scope}/{key}/history", "The last 16 versions of a key of shared state")
        .for_one_app(),
    Route::read("/v1/leases", "Who has which lease, and who waits for it").for_one_app(),
    Route::read("/v1/leases/check", "Whether a token counts").for_one_app(),
    Route::send("POST", "/v1/leases/acquire", "Asks for a lease, or for more time on it").for_one_app(),
    Route::send("POST", "/v1/leases/renew", "Asks for more time on a lease").for_one_app(),
    Route::send("POST", "/v1/leases/release", "Gives a lease back").for_one_app(),
    Route::admin("POST", "/v1/leases/revoke", "Takes a lease from whoever has it"),
    Route::read("/v1/outbox", "Messages of this node, in the order accepted"),
    Route::read("/v1/outbox/{row}", "One message of the outbox, its content included"),
    Route::admin("POST", "/v1/outbox/requeue", "Gives a message up and sends it again as a new one"),
    Route::admin("POST", "/v1/outbox/abort", "Gives a message up"),
    Route::read("/v1/peers", "Members, and who of them is there").for_one_app(),
    Route::new(TokenScope::Read, "POST", "/v1/peers/verify", "Six words to compare with a peer"),
    Route::admin("POST", "/v1/peers/block", "Refuses a member's mail"),
    Route::admin("POST", "/v1/peers/allow", "Takes a member's mail again"),
    Route::read("/v1/members", "Members as the mesh's log has them").for_one_app(),
    Route::read("/v1/mesh/invites", "Invites that are open"),
    Route::admin("POST", "/v1/mesh/join", "Enters a mesh by an invite"),
    Route::admin("POST", "/v1/mesh/create", "Founds a mesh"),
    Route::admin("POST", "/v1/mesh/broker", "Says where a mesh's broker is"),
    Route::admin("POST", "/v1/mesh/leave", "Leaves a mesh"),
    Route::admin("POST", "/v1/mesh/rotate-keys", "Gives this node new keys"),
    Route::admin("POST", "/v1/mesh/invite", "Lets somebody into a mesh"),
    Route::admin("POST", "/v1/mesh/invite/revoke", "Ends an invite"),
    Route::admin("POST", "/v1/mesh/recover", "Makes a member an admin by the recovery words"),
    Route::admin("POST", "/v1/mesh/grant", "Gives a member another role"),
    Route::admin("POST", "/v1/mesh/revoke", "Ends a node's membership"),
    Route::admin("POST", "/v1/mesh/resume", "Has a mesh go on after a loss of the broker's store"),
    Route::read("/v1/topics", "Topics of the mesh, and who has subscribed").for_one_app(),
    Route::send("POST", "/v1/topics/publish", "Publishes a message to a topic").for_one_app(),
    Route::send("POST", "/v1/topics/subscribe", "Has what is published kept for the app").for_one_app(),
    Route::send("POST", "/v1/topics/unsubscribe", "Ends a subscription of the app").for_one_app(),
    Route::read("/v1/topics/subscriptions", "What the app has subscribed to, and how far it has come")
        .for_one_app(),
    Route::read("/v1/topics/stream", "What the app has subscribed to, as a stream").for_one_app(),
    Route::send("POST", "/v1/topics/ack", "The app has dealt with messages of a topic").for_one_app(),
    Route::read("/v1/topics/history", "What is kept of a topic").for_one_app(),
    Route::send("POST", "/v1/topics/retention", "How long a topic keeps its messages"),
    Route::admin("GET", "/v1/tokens", "Tokens that let somebody in"),
    Route::admin("POST", "/v1/tokens", "Makes a token"),
    Route::admin("DELETE", "/v1/tokens/{name}", "Ends a token"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_route_is_there_once_and_only_reading_is_done_with_get() {
        let all: HashSet<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(all.len(), ROUTES.len());
        for route in ROUTES {
            assert_eq!(Route::find(route.method, route.path), Some(&route));
            let changes = route.method != "GET" && route.path != "/v1/peers/verify";
            assert!(!changes || route.scope > TokenScope::Read, "{} {}", route.method, route.path);
            assert!(!route.for_one_app || route.scope < TokenScope::Admin, "{} {}", route.method, route.path);
        }
    }
}
