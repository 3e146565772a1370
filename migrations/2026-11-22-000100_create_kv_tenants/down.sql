DROP TABLE kv_tenants;
