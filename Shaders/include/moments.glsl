// Mean and variance without cancellation: Welford's update and Chan, Golub and LeVeque's merge ("Updating Formulae and a
// Pairwise Algorithm for Computing Sample Variances", 1979, equations 1.3 and 2.1).
struct Moments {
    float count;
    float mean;
    float squares;  // the sum of squared differences from the mean
};

Moments noMoments() { return Moments(0.0, 0.0, 0.0); }

void include(inout Moments moments, float value) {
    moments.count += 1.0;
    float difference = value - moments.mean;
    moments.mean += difference / moments.count;
    moments.squares += difference * (value - moments.mean);
}

Moments merged(Moments left, Moments right) {
    float count = left.count + right.count;
    if (count == 0.0) return left;
    float difference = right.mean - left.mean;
    float share = right.count / count;
    return Moments(
        count, left.mean + difference * share, left.squares + right.squares + difference * difference * left.count * share);
}
