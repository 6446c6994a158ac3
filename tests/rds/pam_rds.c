// A PAM module that passes the user and the whole password to a program of its service's choice:
//
//     auth    required /path/of/pam_rds.so /path/of/verifier.py SERVER STATE
//     account required /path/of/pam_rds.so
//
// runs `verifier.py SERVER STATE USER` with the password on its standard input. If it exits with 0, the
// user is let in. If it exits with 2, the login ends as Aurora DSQL ends it. (pam_exec would do, but it
// cuts passwords at 511 bytes.)

#define _GNU_SOURCE // memfd_create

#include <errno.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// A file in memory that holds `text` and is read from its start. Unlike a pipe it takes a text of any
// length before anyone reads, and a reader that dies early raises no SIGPIPE in the server.
static int file_of(const char *text) {
    int file = memfd_create("password", MFD_CLOEXEC);
    if (file == -1)
        return -1;
    size_t length = strlen(text);
    if (write(file, text, length) != (ssize_t)length || lseek(file, 0, SEEK_SET) == -1) {
        close(file);
        return -1;
    }
    return file;
}

// The exit status of a program that reads `input`, or -1 when it did not run to its end.
static int run(char *const arguments[], int input) {
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    char *environment[] = {NULL};
    pid_t child;
    int failed = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO) != 0
        || posix_spawn(&child, arguments[0], &actions, NULL, arguments, environment) != 0;
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return -1;

    int status;
    while (waitpid(child, &status, 0) == -1)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// PostgreSQL's own functions for errors (utils/elog.h, version 14 and later). They are weak symbols,
// because MariaDB loads this module too and lacks them.
extern bool errstart(int level, const char *domain) __attribute__((weak));
extern int errcode(int sqlstate) __attribute__((weak));
extern int errmsg(const char *format, ...) __attribute__((weak));
extern int errhint(const char *format, ...) __attribute__((weak));
extern void errfinish(const char *file, int line, const char *function) __attribute__((weak));

// Does not return. PostgreSQL itself has a single error for all that PAM rejects.
static void reject_as_dsql(void) {
    const int fatal = 22;
    const int connection_failure = 8 << 6 | 6 << 24; // 08006, six bits a character
    if (errstart && errcode && errmsg && errhint && errfinish && errstart(fatal, NULL)) {
        errcode(connection_failure);
        errmsg("unable to accept connection, access denied");
        errhint("the verifier's reason");
        errfinish(__FILE__, __LINE__, __func__);
    }
}

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)flags;
    const char *user, *password; // Both belong to PAM, which wipes and frees them.
    if (argc != 3
        || pam_get_user(pamh, &user, NULL) != PAM_SUCCESS
        || pam_get_authtok(pamh, PAM_AUTHTOK, &password, NULL) != PAM_SUCCESS)
        return PAM_AUTH_ERR;

    int input = file_of(password);
    if (input == -1)
        return PAM_AUTH_ERR;
    char *arguments[] = {(char *)argv[0], (char *)argv[1], (char *)argv[2], (char *)user, NULL};
    int status = run(arguments, input);
    close(input);
    if (status == 2)
        reject_as_dsql();
    return status == 0 ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}
