// A PAM module that hands the user and the whole password to a program of its service's choice:
//
//     auth    required /path/of/pam_rds.so /path/of/verifier.py SERVER STATE
//     account required /path/of/pam_rds.so
//
// runs `verifier.py SERVER STATE USER` with the password on its standard input, and lets the user in
// when it exits with 0. (pam_exec would do, but it cuts passwords at 511 bytes.)

#define _GNU_SOURCE // memfd_create

#include <errno.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <spawn.h>
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
