// Run once by the image of MongoDB, when its volume is empty: a user who can work in one database.
db.getSiblingDB("fireworks").createUser({
    user: process.env.ALPW_DB_USER,
    pwd: process.env.ALPW_DB_PASSWORD,
    roles: [{ role: "readWrite", db: "fireworks" }],
});
