// A Cloudflare Worker that starts a run of maintenance in Dagster at every tick of its cron trigger.
//
// It throws a sentence where no run could be started, so that Cloudflare counts the tick as failed and shows why. No
// sentence has a secret in it, nor what a server answered in place of Dagster.

const ANSWER_WITHIN_MS = 30_000;

// A run that is in progress for longer was lost, and holds nobody back: deploy/dagster.yaml has Dagster end it then.
const LOST_AFTER_SECONDS = 900;

const IN_PROGRESS = ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"];

const RUNS = `
  query Runs($filter: RunsFilter!) {
    runsOrError(filter: $filter, limit: 1) {
      __typename
      ... on Runs { results { runId status } }
      ... on Error { message }
    }
  }`;

const LAUNCH = `
  mutation Launch($params: ExecutionParams!) {
    launchRun(executionParams: $params) {
      __typename
      ... on LaunchRunSuccess { run { runId } }
      ... on RunConfigValidationInvalid { errors { message } }
      ... on Error { message }
    }
  }`;

export default {
  async scheduled(controller, env) {
    const job = jobOf(env);
    const plannedFor = new Date(controller.scheduledTime).toISOString();
    const running = await runInProgress(env, job);
    if (running) {
      console.log(`No run of ${job.jobName} for ${plannedFor}: ${running.runId} is in progress (${running.status}).`);
      return;
    }
    const runId = await launch(env, job, plannedFor);
    console.log(`Launched run ${runId} of ${job.jobName} for ${plannedFor}.`);
  },
};

function jobOf(env) {
  return {
    repositoryLocationName: env.DAGSTER_LOCATION || "mika-ops",
    repositoryName: env.DAGSTER_REPOSITORY || "__repository__",
    jobName: env.DAGSTER_JOB || "mika_maintenance",
  };
}

async function runInProgress(env, job) {
  const filter = {
    pipelineName: job.jobName,
    statuses: IN_PROGRESS,
    createdAfter: Date.now() / 1000 - LOST_AFTER_SECONDS,
    // Another code location may have a job of the same name, for a shop of its own.
    tags: [{ key: ".dagster/repository", value: `${job.repositoryName}@${job.repositoryLocationName}` }],
  };
  const { runsOrError: answer } = await ask(env, RUNS, { filter });
  if (answer?.__typename !== "Runs") {
    throw new Error(`Dagster cannot say whether ${job.jobName} is running: ${reasonOf(answer)}`);
  }
  return answer.results[0];
}

async function launch(env, job, plannedFor) {
  const params = {
    selector: job,
    // What is due is judged at the time for which Cloudflare planned the tick, however late it comes.
    runConfigData: { now: plannedFor },
    executionMetadata: { tags: [{ key: "mika/scheduler", value: "cloudflare" }] },
  };
  const { launchRun: answer } = await ask(env, LAUNCH, { params });
  if (answer?.__typename !== "LaunchRunSuccess") {
    const place = `${job.repositoryName}@${job.repositoryLocationName}`;
    throw new Error(`Dagster did not launch ${job.jobName} of ${place}: ${reasonOf(answer)}`);
  }
  return answer.run.runId;
}

/** Ask Dagster's GraphQL and return its data. Throws a sentence where there is none. */
async function ask(env, query, variables) {
  const url = graphqlOf(env);
  const credentials = credentialsOf(env, url);
  let response;
  let answer;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json", ...credentials },
      body: JSON.stringify({ query, variables }),
      // A redirect leads to a login page, which must not see the credentials.
      redirect: "manual",
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    answer = await response.json().catch((error) => {
      if (error instanceof SyntaxError) return undefined;
      throw error;
    });
  } catch (error) {
    throw new Error(`Dagster at ${url.host} cannot be reached (${error.name}): check DAGSTER_URL and that it is up`);
  }
  if (response.status >= 300 && response.status < 400) {
    throw new Error(`${url.host} asks for a login: check the service token of Cloudflare Access and its policy`);
  }
  if (response.status === 401 || response.status === 403) {
    throw new Error(`${url.host} refuses the credentials (${response.status}): check the secrets of this Worker`);
  }
  if (answer?.errors?.length) {
    throw new Error(`Dagster does not understand the query: ${sentence(answer.errors[0].message)}`);
  }
  if (!response.ok || !answer?.data) {
    throw new Error(`${url.host} answered with ${response.status} and not as Dagster does: check DAGSTER_URL`);
  }
  return answer.data;
}

function graphqlOf(env) {
  let url;
  try {
    url = new URL(`${env.DAGSTER_URL.replace(/\/+$/, "")}/graphql`);
  } catch {
    throw new Error("DAGSTER_URL is no address: write it as https://dagster.shop.example");
  }
  if (url.username || url.password) {
    throw new Error("DAGSTER_URL holds a login, which would be seen in logs: use the secrets of this Worker");
  }
  return url;
}

function credentialsOf(env, url) {
  const headers = {};
  if (env.ACCESS_CLIENT_ID || env.ACCESS_CLIENT_SECRET) {
    if (!env.ACCESS_CLIENT_ID || !env.ACCESS_CLIENT_SECRET) {
      throw new Error("a service token has two halves: set both ACCESS_CLIENT_ID and ACCESS_CLIENT_SECRET");
    }
    headers["CF-Access-Client-Id"] = env.ACCESS_CLIENT_ID;
    headers["CF-Access-Client-Secret"] = env.ACCESS_CLIENT_SECRET;
  }
  if (env.DAGSTER_CLOUD_API_TOKEN) {
    headers["Dagster-Cloud-Api-Token"] = env.DAGSTER_CLOUD_API_TOKEN;
  }
  if (Object.keys(headers).length > 0 && url.protocol !== "https:") {
    throw new Error("DAGSTER_URL must start with https:// as secrets are sent there");
  }
  return headers;
}

function reasonOf(answer) {
  const messages = answer?.errors?.map((error) => error.message) ?? [answer?.message];
  const told = messages.filter(Boolean).map(sentence).join("; ");
  return [answer?.__typename ?? "no answer", told].filter(Boolean).join(": ");
}

function sentence(text) {
  return String(text).replace(/\s+/g, " ").trim().slice(0, 1000);
}
