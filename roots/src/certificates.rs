// Written by `update`. Do not edit.

use rustls_pki_types::CertificateDer;

#[rustfmt::skip]
pub(crate) const RDS_ROOT_CERTS: &[CertificateDer<'static>] = &[
    // Amazon RDS af-south-1 Root CA ECC384 G1, expires 2121-05-19
    // SHA-256 3f080199196980898679820cdaef05641ab38d7da88b5a8a4b43f516047a4670
    CertificateDer::from_slice(include_bytes!("../data/rds/af-south-1-ecc384-g1.der")),
    // Amazon RDS af-south-1 Root CA RSA2048 G1, expires 2061-05-19
    // SHA-256 93e1ba1b78cc87bd5418456a356dab93868592d2676591be88dfdddce9f0e7a1
    CertificateDer::from_slice(include_bytes!("../data/rds/af-south-1-rsa2048-g1.der")),
    // Amazon RDS af-south-1 Root CA RSA4096 G1, expires 2121-05-19
    // SHA-256 3c82c0d1b0fab07a7a30abccc30725f0426f2a7c011f369896b86427bf983a1b
    CertificateDer::from_slice(include_bytes!("../data/rds/af-south-1-rsa4096-g1.der")),
    // Amazon RDS ap-east-1 Root CA ECC384 G1, expires 2121-05-25
    // SHA-256 d3b2fb714fae16dbb0b2bc48884885570188e594cd227afd481372bc4f21d163
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-east-1-ecc384-g1.der")),
    // Amazon RDS ap-east-1 Root CA RSA2048 G1, expires 2061-05-25
    // SHA-256 f847fd24500e9f8e64e9171c864c8260d121b2f2829fa7fc8c5c1cf8178bc0c8
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-east-1-rsa2048-g1.der")),
    // Amazon RDS ap-east-1 Root CA RSA4096 G1, expires 2121-05-25
    // SHA-256 bf81762487be91062cdc35cd7dd519870e5d767d23488d13c6a66b7f77e114bd
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-east-1-rsa4096-g1.der")),
    // Amazon RDS ap-northeast-1 Root CA ECC384 G1, expires 2121-05-25
    // SHA-256 1cb5dcfb2e4db29fdb966e31c5da9f620bf06a10f5880205131a0e6a5bdf80d7
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-1-ecc384-g1.der")),
    // Amazon RDS ap-northeast-1 Root CA RSA2048 G1, expires 2061-05-25
    // SHA-256 08544470dfa4c9dc25c481a8908d2958f90b9c1d23f275696f341d71f2f1539e
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-1-rsa2048-g1.der")),
    // Amazon RDS ap-northeast-1 Root CA RSA4096 G1, expires 2121-05-25
    // SHA-256 dc4bd074909909f9e5288408f2a148261aa506711307ae0a6561df152e07e04c
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-1-rsa4096-g1.der")),
    // Amazon RDS ap-northeast-2 Root CA ECC384 G1, expires 2121-05-20
    // SHA-256 f47a584f42f3d9fd1e0f8908ae65a67ec7cc50340a616871563bde5d889a9cc0
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-2-ecc384-g1.der")),
    // Amazon RDS ap-northeast-2 Root CA RSA2048 G1, expires 2061-05-20
    // SHA-256 e8de13bf9665ba1a2967008028ffe4f9b4f0a6def6e3caf76e0d496cd6facffc
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-2-rsa2048-g1.der")),
    // Amazon RDS ap-northeast-2 Root CA RSA4096 G1, expires 2121-05-20
    // SHA-256 00ff49c08b7d5dc53328784986580948d06ee9b2f0f1e6b6eae70ccdedf5f757
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-2-rsa4096-g1.der")),
    // Amazon RDS ap-northeast-3 Root CA ECC384 G1, expires 2121-05-24
    // SHA-256 ef0179e8f0f069eaaac6d3cb1b4ea4ad12c0db139dc24dd88892d884be348da6
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-3-ecc384-g1.der")),
    // Amazon RDS ap-northeast-3 Root CA RSA2048 G1, expires 2061-05-24
    // SHA-256 43551a53a5197322e6aa5e120e2c59e308b8371af74ce8367769820ad00908c8
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-3-rsa2048-g1.der")),
    // Amazon RDS ap-northeast-3 Root CA RSA4096 G1, expires 2121-05-24
    // SHA-256 22c209007e2f6c000e7661563393132370933159e78ff1ecaa2b761014e2f80b
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-northeast-3-rsa4096-g1.der")),
    // Amazon RDS ap-south-1 Root CA ECC384 G1, expires 2121-05-19
    // SHA-256 333de57f904b25d90b1ea19730ab91c495adbaf1480b0f2bbaf17d2e21af52bf
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-south-1-ecc384-g1.der")),
    // Amazon RDS ap-south-1 Root CA RSA2048 G1, expires 2061-05-19
    // SHA-256 ff6a599c9e966b146a57725e1d9a19c72f5f08407f0a2d3350aa9ae9212339b8
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-south-1-rsa2048-g1.der")),
    // Amazon RDS ap-south-1 Root CA RSA4096 G1, expires 2121-05-19
    // SHA-256 27111555461f373d983c7911a3406cf532e0b5d3929b9175a54e400e442ef557
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-south-1-rsa4096-g1.der")),
    // Amazon RDS ap-south-2 Root CA ECC384 G1, expires 2122-06-06
    // SHA-256 dbfe752e9b5bd14c968f1655a34570505d2476f5b6151523ca70d792c2a79c14
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-south-2-ecc384-g1.der")),
    // Amazon RDS ap-south-2 Root CA RSA2048 G1, expires 2062-06-06
    // SHA-256 3a730d2458c61f7211ac674aaf798eaae0c65edd8f5b0f410d0d4c5223482bf9
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-south-2-rsa2048-g1.der")),
    // Amazon RDS ap-south-2 Root CA RSA4096 G1, expires 2122-06-06
    // SHA-256 e841e076fcd83fdf6daea1bfcfb553c99a4197988cb35ebfaf71993e49a92ede
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-south-2-rsa4096-g1.der")),
    // Amazon RDS ap-southeast-1 Root CA ECC384 G1, expires 2121-05-21
    // SHA-256 712a2eaa456b3d16cb6fb20a786b5958d91270e100430c091264d7f456f2a0e3
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-1-ecc384-g1.der")),
    // Amazon RDS ap-southeast-1 Root CA RSA2048 G1, expires 2061-05-21
    // SHA-256 2994dd350da7fc30a1c9a95303773f3f381ba92af9805e4947d6f9963b770b80
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-1-rsa2048-g1.der")),
    // Amazon RDS ap-southeast-1 Root CA RSA4096 G1, expires 2121-05-21
    // SHA-256 579e3ea1325bfc49cfdf6a934b3f8f1228e1e0d4b8e6ae34e7d22dda2c2b7bbd
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-1-rsa4096-g1.der")),
    // Amazon RDS ap-southeast-2 Root CA ECC384 G1, expires 2121-05-24
    // SHA-256 02a28548ccc140000e50911afa4677850ac93635e20ad76f822d91f50324e853
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-2-ecc384-g1.der")),
    // Amazon RDS ap-southeast-2 Root CA RSA2048 G1, expires 2061-05-24
    // SHA-256 742db53f2f8970ec4c7801784763c519d5485b197023ec4bb55526125469654a
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-2-rsa2048-g1.der")),
    // Amazon RDS ap-southeast-2 Root CA RSA4096 G1, expires 2121-05-24
    // SHA-256 8bde3d208554fb7409da40771c9c6684881daacce02c2d40be75d28de45c5231
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-2-rsa4096-g1.der")),
    // Amazon RDS ap-southeast-3 Root CA ECC384 G1, expires 2121-06-11
    // SHA-256 cba9effcc625b81c17084e7ab3bc8ad10ac3cf2c370a062dc2b759cc4c5cb4c6
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-3-ecc384-g1.der")),
    // Amazon RDS ap-southeast-3 Root CA RSA2048 G1, expires 2061-06-10
    // SHA-256 533849068049dbb282750393e71646cef9e20256fe2ed59211bfe4b79edf91e8
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-3-rsa2048-g1.der")),
    // Amazon RDS ap-southeast-3 Root CA RSA4096 G1, expires 2121-06-11
    // SHA-256 11bedbb33c2d1dfc28b75029441e8f6c845330a40372b117b7cdc0946f5c748d
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-3-rsa4096-g1.der")),
    // Amazon RDS ap-southeast-4 Root CA ECC384 G1, expires 2122-05-25
    // SHA-256 53e0148366019592ecca4fcf8098f7619e94279120080fa3df0847bf261c65d3
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-4-ecc384-g1.der")),
    // Amazon RDS ap-southeast-4 Root CA RSA2048 G1, expires 2062-05-25
    // SHA-256 8876f8a284859d9048d41b0cf8b1724bf4a8a7fe4ecf7e9cbb28481c28698741
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-4-rsa2048-g1.der")),
    // Amazon RDS ap-southeast-4 Root CA RSA4096 G1, expires 2122-05-25
    // SHA-256 ed0b9b254182e524aa4091d41e94d7a6ecaec07811c8c7ac914e942591cedad9
    CertificateDer::from_slice(include_bytes!("../data/rds/ap-southeast-4-rsa4096-g1.der")),
    // Amazon RDS ca-central-1 Root CA ECC384 G1, expires 2121-05-21
    // SHA-256 d2267e8646f81299adfb79e774447c31fb4ccc6506c4631f5aa40ee195233517
    CertificateDer::from_slice(include_bytes!("../data/rds/ca-central-1-ecc384-g1.der")),
    // Amazon RDS ca-central-1 Root CA RSA2048 G1, expires 2061-05-21
    // SHA-256 205403dc9e903714227f035610c9918fd3f603d82deb5b3dfc728079c1a2c778
    CertificateDer::from_slice(include_bytes!("../data/rds/ca-central-1-rsa2048-g1.der")),
    // Amazon RDS ca-central-1 Root CA RSA4096 G1, expires 2121-05-21
    // SHA-256 09b798b9d54c2acf8ab964dfb0b97bb9edb39d7a873f9ed532eb08340b5bdb54
    CertificateDer::from_slice(include_bytes!("../data/rds/ca-central-1-rsa4096-g1.der")),
    // Amazon RDS eu-central-1 Root CA ECC384 G1, expires 2121-05-21
    // SHA-256 ae697d082ee1862f711ecae3893c3c613b7315d020f74674051534a5b166d47b
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-central-1-ecc384-g1.der")),
    // Amazon RDS eu-central-1 Root CA RSA2048 G1, expires 2061-05-21
    // SHA-256 3d8b08a7390c9b10d190a6b349d703ae00bae46583643319c7faccf3e5dc4a8b
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-central-1-rsa2048-g1.der")),
    // Amazon RDS eu-central-1 Root CA RSA4096 G1, expires 2121-05-21
    // SHA-256 3111f322e448c26ea2722c02e29714dace16d5c39336cdf6dfbffbc0368d5332
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-central-1-rsa4096-g1.der")),
    // Amazon RDS eu-central-2 Root CA ECC384 G1, expires 2122-06-06
    // SHA-256 896ef0d9c66ac5ac46e12bcd8f44dc2065b9006983b8b3c3203a4ab951f63368
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-central-2-ecc384-g1.der")),
    // Amazon RDS eu-central-2 Root CA RSA2048 G1, expires 2062-06-06
    // SHA-256 97477e83609fc31e6312009830b36faeec32ad317f91531a21ace6448b6416c6
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-central-2-rsa2048-g1.der")),
    // Amazon RDS eu-central-2 Root CA RSA4096 G1, expires 2122-06-06
    // SHA-256 969ed937f0f63f9fa703bea5089d2b3ea0164f32d843d26b2edd74f07b44df28
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-central-2-rsa4096-g1.der")),
    // Amazon RDS eu-north-1 Root CA ECC384 G1, expires 2121-05-24
    // SHA-256 7e0f13147f65b845268f62c446f2785040a007f8e92fb0e42987e9b848068da8
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-north-1-ecc384-g1.der")),
    // Amazon RDS eu-north-1 Root CA RSA2048 G1, expires 2061-05-24
    // SHA-256 4a3e1f8cd4ccfa64383ffd81344defe69d97c661dbde51a70dadc0b1f688561b
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-north-1-rsa2048-g1.der")),
    // Amazon RDS eu-north-1 Root CA RSA4096 G1, expires 2121-05-24
    // SHA-256 a91830f1068b9fedf5a3e13805e0efafdc6dab2c4903eb032f52884fee2110a7
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-north-1-rsa4096-g1.der")),
    // Amazon RDS eu-south-1 Root CA ECC384 G1, expires 2121-05-19
    // SHA-256 b655ee075c71c0cd89bc2c0339e960f6ba9238efbc9b5d1ea8d257cf4fa0a424
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-south-1-ecc384-g1.der")),
    // Amazon RDS eu-south-1 Root CA RSA2048 G1, expires 2061-05-19
    // SHA-256 8ea634c367d3f18a471da9bb38f833cbec4a408e472b58ad7d69bd47390a6640
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-south-1-rsa2048-g1.der")),
    // Amazon RDS eu-south-1 Root CA RSA4096 G1, expires 2121-05-19
    // SHA-256 5c6ef8941085cb1060a14ab7bc439a3c21d3a704631b702b1393c0ab6cabb47d
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-south-1-rsa4096-g1.der")),
    // Amazon RDS eu-south-2 Root CA ECC384 G1, expires 2122-05-23
    // SHA-256 a74816bc5f13d5653e81c172627428f66f485a34db1e19d0f4925c1c61cd504b
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-south-2-ecc384-g1.der")),
    // Amazon RDS eu-south-2 Root CA RSA2048 G1, expires 2062-05-23
    // SHA-256 073d43d98b8ca4444b7321ff9887525c7804a76930770b2a202aca582caa234d
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-south-2-rsa2048-g1.der")),
    // Amazon RDS eu-south-2 Root CA RSA4096 G1, expires 2122-05-23
    // SHA-256 cf6fbdc3c0bb45d94c092458d7c867f705423a4a5f16b398b72e3c339b15d5d3
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-south-2-rsa4096-g1.der")),
    // Amazon RDS eu-west-1 Root CA ECC384 G1, expires 2121-05-20
    // SHA-256 88ecf027448f7198f3c1a6762474c4658dab35a18686af6b65de3c4023c6d0b2
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-1-ecc384-g1.der")),
    // Amazon RDS eu-west-1 Root CA RSA2048 G1, expires 2061-05-20
    // SHA-256 6f7e01b62af24058417130b21e5fb9ad9f29b29c775c5107b657419010975886
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-1-rsa2048-g1.der")),
    // Amazon RDS eu-west-1 Root CA RSA4096 G1, expires 2121-05-20
    // SHA-256 62e29ef90310947eed5d5546021d636008fad329fab9ea31ba1ae768b734f29a
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-1-rsa4096-g1.der")),
    // Amazon RDS eu-west-2 Root CA ECC384 G1, expires 2121-05-21
    // SHA-256 c990ee37225e4ecc989d9e5f81089614d1f6977db650d1d1ea61462812e71b02
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-2-ecc384-g1.der")),
    // Amazon RDS eu-west-2 Root CA RSA2048 G1, expires 2061-05-21
    // SHA-256 3455640af7798b30da9c6179b5e21e23d95dabb7873a12fec70b02092745f04e
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-2-rsa2048-g1.der")),
    // Amazon RDS eu-west-2 Root CA RSA4096 G1, expires 2121-05-21
    // SHA-256 147ad44255877d39e1a5d247c3dba006cf4479cd031eea34ae071287553a0215
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-2-rsa4096-g1.der")),
    // Amazon RDS eu-west-3 Root CA ECC384 G1, expires 2121-05-25
    // SHA-256 1a8027a4be83ff1e3cde85baa9d09c8b6cac0145ee5cc437389da4d3456d7fd9
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-3-ecc384-g1.der")),
    // Amazon RDS eu-west-3 Root CA RSA2048 G1, expires 2061-05-25
    // SHA-256 1a954c0f6ea17874d55d02c7f1948236bd32c926be5fd28ec5aedffbc036226b
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-3-rsa2048-g1.der")),
    // Amazon RDS eu-west-3 Root CA RSA4096 G1, expires 2121-05-25
    // SHA-256 eab48bcff49f906eae57552efce499a4cfa42f9003a4e9549b182062891155cf
    CertificateDer::from_slice(include_bytes!("../data/rds/eu-west-3-rsa4096-g1.der")),
    // Amazon RDS me-central-1 Root CA ECC384 G1, expires 2122-05-07
    // SHA-256 8056ffc06567b146a5f4649c7d77b20f82d63585bb097467ee281231c2e1bb4b
    CertificateDer::from_slice(include_bytes!("../data/rds/me-central-1-ecc384-g1.der")),
    // Amazon RDS me-central-1 Root CA RSA2048 G1, expires 2062-05-07
    // SHA-256 2b2a720f801b251f8cd4080c1cb56520020f0bafa56f90fb206e1b66dfc3d5a2
    CertificateDer::from_slice(include_bytes!("../data/rds/me-central-1-rsa2048-g1.der")),
    // Amazon RDS me-central-1 Root CA RSA4096 G1, expires 2122-05-07
    // SHA-256 6420fc61de5715c965c04e1071c40ab8d6b42e19842b9228b683eb7f190a4552
    CertificateDer::from_slice(include_bytes!("../data/rds/me-central-1-rsa4096-g1.der")),
    // Amazon RDS me-south-1 Root CA ECC384 G1, expires 2121-05-20
    // SHA-256 4c9be86992c1231cf519bb58b7277e8d86d88c76eea310bef7a5ec1c6eb9bd6b
    CertificateDer::from_slice(include_bytes!("../data/rds/me-south-1-ecc384-g1.der")),
    // Amazon RDS me-south-1 Root CA RSA2048 G1, expires 2061-05-20
    // SHA-256 a42a4e21d76ef9f4b34801a13994f49afa9745573b71fc65dae504732ee3a863
    CertificateDer::from_slice(include_bytes!("../data/rds/me-south-1-rsa2048-g1.der")),
    // Amazon RDS me-south-1 Root CA RSA4096 G1, expires 2121-05-20
    // SHA-256 6b9dd4a4d86d5b3cd5179355cd1ca157e71ba8470e6fc330245fa1f67febf8e5
    CertificateDer::from_slice(include_bytes!("../data/rds/me-south-1-rsa4096-g1.der")),
    // Amazon RDS sa-east-1 Root CA ECC384 G1, expires 2121-05-19
    // SHA-256 80ca8be42d38ea097fc733d79fc73d595f95f3834e04bb4efed15f1be53e8790
    CertificateDer::from_slice(include_bytes!("../data/rds/sa-east-1-ecc384-g1.der")),
    // Amazon RDS sa-east-1 Root CA RSA2048 G1, expires 2061-05-19
    // SHA-256 376e82dd0d72b3f4234e1dad34f7bc086d51947f8b343a887e3ae122e0fd212b
    CertificateDer::from_slice(include_bytes!("../data/rds/sa-east-1-rsa2048-g1.der")),
    // Amazon RDS sa-east-1 Root CA RSA4096 G1, expires 2121-05-19
    // SHA-256 4d895d0786fd52b513554e73a07c2c0df47138e834a4338866e4d4bdc85778a3
    CertificateDer::from_slice(include_bytes!("../data/rds/sa-east-1-rsa4096-g1.der")),
    // Amazon RDS Beta us-east-1 Root CA ECC384 G1, expires 2121-05-18
    // SHA-256 3d64b3edc6b8b3ffe0cf0c8ee91de915aca376ad818d6d78362686df99c80129
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-1-beta-ecc384-g1.der")),
    // Amazon RDS Beta us-east-1 Root CA RSA2048 G1, expires 2061-05-18
    // SHA-256 9c170caada139e8bf1add0d9f44a81e8e62df2115854914284794dab223dcf82
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-1-beta-rsa2048-g1.der")),
    // Amazon RDS Beta us-east-1 Root CA RSA4096 G1, expires 2121-05-18
    // SHA-256 b89aeb92200e5434ba58b30a3e418a47f772542292ae7d569b072fdcfd345de3
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-1-beta-rsa4096-g1.der")),
    // Amazon RDS us-east-1 Root CA ECC384 G1, expires 2121-05-25
    // SHA-256 82d99e9e409703044c3f886f87a0408c96cd74dee2c9ba920e6553a32e372539
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-1-ecc384-g1.der")),
    // Amazon RDS us-east-1 Root CA RSA2048 G1, expires 2061-05-25
    // SHA-256 e4ce41d069f4bdcdb714259058961ee42ed18cf2bf627a3d647aff25437d4b68
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-1-rsa2048-g1.der")),
    // Amazon RDS us-east-1 Root CA RSA4096 G1, expires 2121-05-25
    // SHA-256 1c753cf0334ff82a47e0d3205839c8549b7d9a8a3d9a685cccecc80f82fe97e6
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-1-rsa4096-g1.der")),
    // Amazon RDS Preview us-east-2 Root CA ECC384 G1, expires 2121-05-18
    // SHA-256 d96605e5acb0c7a91f28bf091361c0f80e68a77013272a50276b3dafb9542a3b
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-2-preview-ecc384-g1.der")),
    // Amazon RDS Preview us-east-2 Root CA RSA2048 G1, expires 2061-05-18
    // SHA-256 50c530bc483367c49a89bf32d18d5a3c1917f577b147ea62bcec79375a69854e
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-2-preview-rsa2048-g1.der")),
    // Amazon RDS Preview us-east-2 Root CA RSA4096 G1, expires 2121-05-18
    // SHA-256 2ed2b79cf308ce70ddae58b52057788977c7f039ed0a5c4727908b807ac3e128
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-2-preview-rsa4096-g1.der")),
    // Amazon RDS us-east-2 Root CA ECC384 G1, expires 2121-05-22
    // SHA-256 6a026963875a74234cc4deaeed7f31c15ee31127e0755e6a889de9f23946f660
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-2-ecc384-g1.der")),
    // Amazon RDS us-east-2 Root CA RSA2048 G1, expires 2061-05-22
    // SHA-256 68996553f8c736aa4c56de4898e0947c208c81f0c9e2b57dea7bf718ef59512f
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-2-rsa2048-g1.der")),
    // Amazon RDS us-east-2 Root CA RSA4096 G1, expires 2121-05-22
    // SHA-256 e48a40eb9ce3f24d9ede8947ccdb60b2970b1b2d75acc0e991e71ef8eac9dbfb
    CertificateDer::from_slice(include_bytes!("../data/rds/us-east-2-rsa4096-g1.der")),
    // Amazon RDS us-west-1 Root CA ECC384 G1, expires 2121-05-19
    // SHA-256 9634bd929cb698e0327e4a315d6cab4c19b54fcbbf6a4e61f7edbec2139cb309
    CertificateDer::from_slice(include_bytes!("../data/rds/us-west-1-ecc384-g1.der")),
    // Amazon RDS us-west-1 Root CA RSA2048 G1, expires 2061-05-19
    // SHA-256 c044a867d2df87500e4f86f5188baf94d8b47497ea7033bad01907b6f2c82be3
    CertificateDer::from_slice(include_bytes!("../data/rds/us-west-1-rsa2048-g1.der")),
    // Amazon RDS us-west-1 Root CA RSA4096 G1, expires 2121-05-19
    // SHA-256 f0bd8094918f0c8b767c2696b98bd2f44b9e3f67f948552234c955cb4a864e44
    CertificateDer::from_slice(include_bytes!("../data/rds/us-west-1-rsa4096-g1.der")),
    // Amazon RDS us-west-2 Root CA ECC384 G1, expires 2121-05-24
    // SHA-256 01926d42a0dc63915005f3d2b8d7c07efd9451fc14889142d8c4fa6021a6a95e
    CertificateDer::from_slice(include_bytes!("../data/rds/us-west-2-ecc384-g1.der")),
    // Amazon RDS us-west-2 Root CA RSA2048 G1, expires 2061-05-24
    // SHA-256 86e22f41c79b0de5777054189cfadbddf633a8a1dc09ef134db07a756e494abe
    CertificateDer::from_slice(include_bytes!("../data/rds/us-west-2-rsa2048-g1.der")),
    // Amazon RDS us-west-2 Root CA RSA4096 G1, expires 2121-05-24
    // SHA-256 2888c2f870f2a58ebdeef3a3340b2f9810595b5a3466574f22ba97b778a5edbe
    CertificateDer::from_slice(include_bytes!("../data/rds/us-west-2-rsa4096-g1.der")),
];

/// Each region with its number of certificates, in the order of `RDS_ROOT_CERTS`.
#[rustfmt::skip]
pub(crate) const REGIONS: &[(&str, usize)] = &[
    ("af-south-1", 3),
    ("ap-east-1", 3),
    ("ap-northeast-1", 3),
    ("ap-northeast-2", 3),
    ("ap-northeast-3", 3),
    ("ap-south-1", 3),
    ("ap-south-2", 3),
    ("ap-southeast-1", 3),
    ("ap-southeast-2", 3),
    ("ap-southeast-3", 3),
    ("ap-southeast-4", 3),
    ("ca-central-1", 3),
    ("eu-central-1", 3),
    ("eu-central-2", 3),
    ("eu-north-1", 3),
    ("eu-south-1", 3),
    ("eu-south-2", 3),
    ("eu-west-1", 3),
    ("eu-west-2", 3),
    ("eu-west-3", 3),
    ("me-central-1", 3),
    ("me-south-1", 3),
    ("sa-east-1", 3),
    ("us-east-1", 6),
    ("us-east-2", 6),
    ("us-west-1", 3),
    ("us-west-2", 3),
];
