// The OpenMP team that oneDNN computes on.
#ifndef CALDERA_CONEDNN_TEAM_H
#define CALDERA_CONEDNN_TEAM_H

// Sets how many threads the calling thread's next parallel regions have. Returns the number before; 0 without OpenMP.
int team_limit(int threads);

#endif
