//! Numbers of tensors, ties and seeds.

use optim::zeroth::{Mask, Purpose, TensorSpec, Tensors, mix64, tensor_id};

use super::{SIGNS, bits, perturbed, scheme, updated, weights};

#[test]
fn seeds_and_numbers_never_change() {
    // Computed by a program that shares no code with ours.
    for (run_seed, step, member, purpose, seed) in [
        (0, 0, 0, Purpose::Noise, 0xd100_827a_a323_c935),
        (17, 3, 5, Purpose::Noise, 0xa18f_3465_87ad_4179),
        (17, 3, 5, Purpose::Subspace, 0x1025_6248_eb3a_675e),
        (17, 3, 5, Purpose::Mask, 0xbfaf_1702_330e_b038),
        (17, 3, 5, Purpose::Data, 0x75b9_abda_f5df_4829),
        (17, 3, 5, Purpose::Sampling, 0xe0d1_2ae1_d1de_9203),
        (u64::MAX, u32::MAX, u64::MAX, Purpose::Noise, 0x3979_4a27_5987_bfcf),
    ] {
        assert_eq!(mix64(run_seed, step, member, purpose), seed);
    }
    for (name, id) in [
        ("", 0xf52a_15e9),
        ("a", 0x02c0_bdbf),
        ("model.layers.0.mlp.up_proj.weight", 0xd4f5_dfe7),
        ("model.embed_tokens.weight", 0x1acb_025c),
    ] {
        assert_eq!(tensor_id(name), id, "{name}");
    }
}

#[test]
fn tensors_that_would_share_noise_are_refused() {
    let tensor = |name: &str| TensorSpec::new(name, [4, 3], true);
    let error = |tensors| Tensors::new(tensors).unwrap_err().to_string();
    // Found by search.
    let collision = error(vec![tensor("t1852"), tensor("other"), tensor("t50563")]);
    assert!(collision.contains("t1852 and t50563 both have the number 0x4afda36a"), "{collision}");
    assert!(error(vec![tensor("a"), tensor("a")]).contains("two tensors are called a"));
    assert!(error(vec![]).contains("no tensor"));
    let tied = tensor("a").tied("b");
    assert!(error(vec![tied.clone()]).contains("b is tied to a"));
    let other_shape = TensorSpec { shape: vec![3, 4], ..tied.clone() };
    assert!(error(vec![tensor("a"), other_shape]).contains("b is tied to a"));
    let other_mask = tied.clone().with_mask(Mask::magnitude(1.0));
    assert!(error(vec![tensor("a"), other_mask]).contains("b is tied to a"));
    assert_eq!(Tensors::new(vec![tensor("a"), tied]).unwrap().own().count(), 1);
}

#[test]
fn a_tied_tensor_gets_the_noise_of_the_other_and_one_that_is_not_tied_its_own() {
    let embedding = TensorSpec::new("embed", [16, 8], true);
    let head = embedding.tied("head");
    let free = TensorSpec::new("head", [16, 8], true);
    let from = weights(128);
    let scheme = scheme(vec![embedding.clone(), head.clone()], SIGNS);
    let term = optim::zeroth::Term { seed: 5, scale: 1e-3 };
    let probe = scheme.probe(0, vec![term]);
    let update = scheme.update(0, 0.1, 0.2, &[0.5]).unwrap();
    let expected = perturbed(&probe, &embedding, &from);
    assert_eq!(bits(&perturbed(&probe, &head, &from)), bits(&expected));
    assert_ne!(bits(&perturbed(&probe, &free, &from)), bits(&expected));
    let expected = updated(&update, &embedding, &from);
    assert_eq!(bits(&updated(&update, &head, &from)), bits(&expected));
    assert_ne!(bits(&updated(&update, &free, &from)), bits(&expected));
    // Untied, with the noise tied by hand: the same trajectory.
    let by_hand = TensorSpec { id: embedding.id, ..free };
    assert_eq!(bits(&updated(&update, &by_hand, &from)), bits(&expected));
}
