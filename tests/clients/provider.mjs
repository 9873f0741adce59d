// An OpenID provider on loopback. Whoever signs in there is the person that was last named under /next/NAME; the
// one client may be sent back where /client?redirect_uri=… says.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const people = JSON.parse(process.argv[2]);
let next = Object.keys(people)[0];
let redirectUris = ['http://localhost/none'];

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
    conformIdTokenClaims: false,
    cookies: { keys: ['a key of a test'] },
    features: { devInteractions: { enabled: false } },
    pkce: { required: () => true },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    async loadExistingGrant(ctx) {
      const { client, session } = ctx.oidc;
      const grant = new ctx.oidc.provider.Grant({
        clientId: client.clientId,
        accountId: session.accountId,
      });
      grant.addOIDCScope('openid profile');
      await grant.save();
      return grant;
    },
  });
  provider.Client.find = async (id) =>
    id === 'countersign'
      ? new provider.Client({
          client_id: id,
          client_secret: 'a secret of a test & more',
          redirect_uris: redirectUris,
        })
      : undefined;
  const serve = provider.callback();
  server.on('request', async (request, response) => {
    const url = new URL(request.url, issuer);
    const [, what, name] = url.pathname.split('/');
    if (what === 'next') {
      next = name;
      response.end();
    } else if (what === 'client') {
      redirectUris = [url.searchParams.get('redirect_uri')];
      response.end();
    } else if (what === 'interaction') {
      const login = { login: { accountId: next, remember: false } };
      await provider.interactionFinished(request, response, login);
    } else {
      serve(request, response);
    }
  });
  console.log(`listening on ${issuer}`);
});
