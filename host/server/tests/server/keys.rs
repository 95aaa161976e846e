//! Where the keys of an issuer come from, and how they change.

use crate::{
    auth::{file, register},
    client::Browser,
    issuer::{KeyServer, Signer, bearer, certificate, key_set},
    tokens::{scene_of, scene_with, until_registered},
};

#[tokio::test]
async fn keys_rotate_with_their_file() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let keys = file("keys.json", &key_set(&old));
    let scene = scene_of(&keys, "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let by = |signer: &Signer| bearer(&signer.token("alice", 60));
    let registered = register(&mut browser, "alice", &by(&old)).await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");
    let refused = register(&mut browser, "alice", &by(&new)).await;
    assert_eq!(refused.start(), "SIP/2.0 401 Unauthorized");

    std::fs::rename(file("next.json", &key_set(&new)), &keys).unwrap();
    until_registered(&mut browser, &by(&new), "200 OK").await;
    let refused = register(&mut browser, "alice", &by(&old)).await;
    assert_eq!(refused.start(), "SIP/2.0 401 Unauthorized");
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn keys_are_fetched_again_when_a_token_names_another() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let server = KeyServer::start(None);
    let keys = format!(
        "keys_url = \"http://127.0.0.1:{}/keys\"\nkeys_s_min = 1",
        server.port
    );
    let scene = scene_with(&keys, "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let by = |signer: &Signer| bearer(&signer.token("alice", 60));
    // Nobody can tell yet.
    let unknown = register(&mut browser, "alice", &by(&old)).await;
    assert_eq!(unknown.start(), "SIP/2.0 500 Server Internal Error");
    server.have(Some(key_set(&old)));
    until_registered(&mut browser, &by(&old), "200 OK").await;

    server.have(Some(key_set(&new)));
    until_registered(&mut browser, &by(&new), "200 OK").await;
    // While the server has nothing better, the keys stay; somebody who makes tokens up makes it be asked.
    server.have(None);
    let refused = register(&mut browser, "alice", &by(&old)).await;
    assert_eq!(refused.start(), "SIP/2.0 401 Unauthorized");
    server.turns_away(2).await;
    let registered = register(&mut browser, "alice", &by(&new)).await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");
    server.task.abort();
    scene.end().await;
}

#[tokio::test]
async fn keys_are_taken_from_whom_the_ca_vouches_for_alone() {
    let signer = Signer::new("one");
    let (pem, acceptor) = certificate();
    let server = KeyServer::start(Some(acceptor));
    server.have(Some(key_set(&signer)));
    let (another, _) = certificate();
    let token = bearer(&signer.token("alice", 60));
    let scene = async |pem: &str| {
        let ca = file("ca.pem", pem);
        let url = format!("https://localhost:{}/keys", server.port);
        let scene = scene_with(&format!("keys_url = {url:?}\nkeys_ca = {ca:?}"), "").await;
        (scene, ca)
    };
    let (distrusting, ca) = scene(&another).await;
    let mut browser = Browser::connect(&distrusting, "alice").await;
    server.turns_away(2).await;
    let unknown = register(&mut browser, "alice", &token).await;
    assert_eq!(unknown.start(), "SIP/2.0 500 Server Internal Error");
    distrusting.end().await;
    std::fs::remove_file(ca).unwrap();

    let (trusting, ca) = scene(&pem).await;
    let mut browser = Browser::connect(&trusting, "alice").await;
    let registered = register(&mut browser, "alice", &token).await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");
    server.task.abort();
    trusting.end().await;
    std::fs::remove_file(ca).unwrap();
}
