//! Whole-system tests: real processes, a real wire, real disks, and every promise attacked where it could break.
//!
//! Each test has a mesh of its own in a temporary folder, on ports the system gives. None sleeps: they wait for
//! conditions, with deadlines. What apps saw is written down and judged by the one checker of histories.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by failing where it is"
)]

mod absence; // Messages wait for a node that is not there, all of them and in order.
mod answers; // Entries of the log whose answer is lost: each is made once.
mod api; // The local API against callers that misbehave.
mod apps; // Apps: registered, found from elsewhere, taken over.
mod background; // Processes in the background: started once, stopped in time, found again after a crash.
mod bench; // `waxwing bench` measures what it says.
mod broker; // A broker's operators: status, backup, doctor, stopping, the service.
mod claims; // Processes on several nodes race for a claim; what came of it is told to whoever comes late.
mod client; // The Rust client: its examples, on real nodes.
mod commands; // Every command: its JSON, its exit codes, its words when something is wrong.
mod copies; // A copied, cloned or rolled-back node is refused, and its mesh is told; no honest one is.
mod corpus; // Configuration files and records of spaces that the fuzzer knows, run again.
mod damage; // A database that a disk has damaged: refused by name, one mesh alone, and made anew of what can be read.
mod databases; // A broker's store on PostgreSQL: started, looked at, moved there and back; and passwords that no command line has.
mod demo; // `waxwing demo` does what the README says.
mod disk; // A disk that is full, read-only or damaged; a socket and a lock that are deleted.
mod doctor; // What is wrong with a node is named, with what mends it; and nothing is changed by looking.
mod documents; // The tests that the documents name exist.
mod ends; // Links that are ended: come back, or stop one mesh and not the others.
mod epochs; // A new state key after everybody who goes: who gets it, and who cannot.
mod faults; // Syncs that fail, a clock that is set, a process that sleeps for long: nothing is lost, and nothing ends for it.
mod flapping; // A thousand nodes that come and go: only who goes leaves, and once.
mod floods; // A member that floods a space: refused, and nobody else waits for it.
mod forks; // Two logs of one mesh, and who tells it from a lie.
mod goodbyes; // Nodes that go while everything is under way: nothing is said behind a goodbye, and nothing lost.
mod hooks; // What is run after events: what it is given, and whom it can hurt.
mod host; // A node runs on its own host and refuses another, touching nothing.
mod hostile; // A broker and a member that lie: noticed, or harmless.
mod identity; // One id is one message, however often and by however many it is sent.
mod invites; // Whom an invite lets in, and whom not; and nothing half made is left of a refusal.
mod joining; // A node killed at each step of a join.
mod kills; // Sender, broker and recipient killed at each step of a message's way.
mod kv; // Shared state: put, read, watched and refused, with the broker away and after restarts.
mod leases; // Leases: in turn, what cannot be is refused, and commands under one.
mod leaving; // A node leaves a mesh: it is a member, or nothing of it is left.
mod loss; // A broker that loses its store loses no mail, and decides nothing about the log.
mod membership; // Who may do what, and what becomes of a node that is thrown out.
mod meshes; // One process in several meshes: joined and founded while it runs.
mod metrics; // What a monitor reads from a node, and what it must not.
mod network; // Machines of their own on one network: joining over it, and who else is on it.
mod operators; // Messages that do not arrive, a node on another host, and how everything is set.
mod order; // Nothing overtakes what was refused for the moment.
mod presence; // Who is online: one join and one leave each, whatever becomes of links, broker and node.
mod privacy; // What a broker and a disk can be searched for, and do not have.
mod prove; // `waxwing prove` finds nothing where nothing is wrong, and what is; and five hundred seeded schedules of faults.
mod race; // Fifty apps race for one lease: never two have it, whatever dies, and nobody waits for nothing.
mod receipts; // A receipt counts whenever it comes, and only if it verifies.
mod recovery; // The members as the log has them, and an admin by the recovery words.
mod reliability; // docs/reliability.md: what its table and the last full runs make of it.
mod requests; // Requests: answered once or not at all, and why not is said; and what stays on one host.
mod retention; // What is over goes, a repeat stays a repeat, and an outbox that fills up says so.
mod run; // Any program as an app: its signals, its exit code, its end.
mod services; // A node as a service: what it tells its service manager, what it takes from it, and its unit.
mod serving; // Services: asked in turn, with notes on the way, by a program or a command; and what of it is on no disk.
mod shells; // What shells and manuals are given: completions that know who is there, a page for each command.
mod sites; // Machines of their own, or this one, each with a state folder and an environment.
mod soak; // Ten thousand idle links and a day's mail: memory and descriptors stay flat; for measuring.
mod spaces; // A broker that lies about a space, and a member that wants what is another's: told, or harmless.
mod starting; // A start in the background ends with what became of it.
mod storm; // Both nodes send and read while processes are killed and links are cut.
mod streams; // Apps stream and poll while everything around them is killed.
mod support; // What all of these share.
mod tampering; // A changed, replayed or moved box never reaches an app.
mod tcp; // The local API over TCP: tokens, scopes, and who knocks without one.
mod terminal; // A person at a terminal, and commands that go on running.
mod tls; // Certificates: whom a node believes, and what a broker that is another comes to.
mod topics; // Topics: every subscriber gets all of it in order, whoever is killed; and nobody else reads it.
mod upheavals; // Presence while nodes, broker and links die by seed: everybody shows what the apps hold in the end.
mod walk; // The Rust client on every route of a node.
mod watching; // Waiting and watching, each through restarts.
mod wire; // What went over the wire, held against what the broker promises by itself.
